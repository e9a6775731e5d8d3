"""Llama Scope (He et al., 2024; OpenMOSS): ``hyperparams.json`` and ``checkpoints/final.safetensors``.

Also its later layout (Llama Scope R1-Distill): ``config.json`` and ``sae_weights.safetensors`` with a threshold for each
feature, as a logarithm.
"""

from pathlib import Path

import torch
from torch import Tensor

from ato.errors import SAEError
from ato.saes.formats.format import Format, Published, refuse_transcoder, register, scaled
from ato.saes.formats.reading import Settings, Weights, keys, read_json, read_safetensors
from ato.saes.places import claim_of_hook

_HARMLESS = keys(
    """
    expansion_factor device dtype seed exp_name exp_series exp_result_path sae_pretrained_name_or_path strict_loading
    l1_coefficient l1_coefficient_warmup_steps lp init_decoder_norm init_encoder_norm init_encoder_with_decoder_transpose
    decoder_exactly_fixed_norm decoder_bias_init_method remove_gradient_parallel_to_decoder_directions use_ghost_grads
    top_k k_warmup_steps initial_k sae_type force_unit_decoder_norm jumprelu_threshold_window promote_act_fn_dtype
    use_triton_kernel sparsity_threshold_for_triton_spmm_kernel bias_init_method use_batch_norm_mse lr betas model_name tp_size ddp_size
    """
)
"""Keys that say how it was trained; ``top_k`` is the sparsity before the conversion to JumpReLU."""


class _OpenMOSS(Format):
    """``pre = s x W_enc + b_enc`` with ``s = sqrt(d) / mean norm``; active where ``pre |W_dec| > threshold``."""

    function = "jumprelu; the mean norm of the residuals is folded, the gate compares pre-activation times decoder norm"
    place = "`hook_point_in` and `hook_point_out`, and the path: `Llama3_1-8B-Base-L15R-8x`"
    l0 = "`top_k`"
    settings_name = ""

    def settings_file(self, file: Path) -> Path:
        """The configuration of a file with weights."""
        return file.parent / self.settings_name

    def fits(self, file: Path) -> bool:
        return self.settings_file(file).is_file() and not (file.parent / "cfg.json").is_file()

    def published(self, file: Path) -> Published:
        where = self.settings_file(file)
        settings = Settings(read_json(where), where)
        _check_kind(settings)
        reads = settings.get("hook_point_in")
        refuse_transcoder(reads, settings.get("hook_point_out"), where)
        weights = read_safetensors(file)
        d_in = settings.whole("d_model")
        factor = _factor(settings, weights, d_in)
        taken = _matrices(settings, weights, d_in)
        norms = taken["W_dec"].norm(dim=1)
        include = bool(settings.get("sparsity_include_decoder_norm", True))
        subtracts = bool(settings.get("apply_decoder_bias_to_pre_encoder", False))
        threshold = _thresholds(settings, weights, factor, taken["b_enc"])
        # A decoder row of length 0 is never active: its pre-activation times 0 exceeds no threshold.
        taken["threshold"] = threshold / norms if include else threshold
        if include and not bool((norms > 0).all()):
            taken["threshold"] = taken["threshold"].where(norms > 0, torch.finfo(torch.float32).max)
        weights.finish()
        metadata = {"l0": settings.number("top_k"), "hook_name": reads, "model_name": settings.get("model_name")}
        settings.finish(_HARMLESS)
        return Published(
            "jumprelu",
            scaled(taken, factor),
            apply_b_dec_to_input=subtracts,
            scaling=factor,
            metadata=metadata,
            claims=tuple(claim_of_hook(reads, "hook_point_in")),
        )


@register
class LlamaScope(_OpenMOSS):
    """A scalar threshold in units of the residuals as they are."""

    name = "llama-scope"
    title = "Llama Scope"
    weights_name = "final.safetensors"
    files = "hyperparams.json and checkpoints/final.safetensors"
    settings_name = "hyperparams.json"

    def weights_in(self, path: Path) -> list[Path]:
        """Also those of the folder ``checkpoints`` in it."""
        return super().weights_in(path) or (super().weights_in(path / "checkpoints") if path.is_dir() else [])

    def settings_file(self, file: Path) -> Path:
        """Beside the folder of checkpoints."""
        above = file.absolute().parent.parent / self.settings_name
        return above if above.is_file() else file.absolute().parent / self.settings_name


@register
class LlamaScopeR1(_OpenMOSS):
    """A threshold for each feature, in units of the scaled residuals."""

    name = "llama-scope-r1"
    title = "Llama Scope R1-Distill"
    weights_name = "sae_weights.safetensors"
    files = "config.json and sae_weights.safetensors"
    settings_name = "config.json"


def _check_kind(settings: Settings) -> None:
    if (act := settings.get("act_fn", "jumprelu")) != "jumprelu":
        raise SAEError(
            f"act_fn {act!r} is not supported", where=settings.where, cure="use a jumprelu SAE of Llama Scope"
        )
    settings.refuse("use_glu_encoder", "its encoder has a second gate")


def _factor(settings: Settings, weights: Weights, d_in: int) -> float:
    kind = settings.get("norm_activation", "dataset-wise")
    stored = [name for name in weights if name.startswith("dataset_average_activation_norm")]
    listed = settings.record("dataset_average_activation_norm")
    norms = [weights.take_number(name) for name in stored] or [float(value) for value in listed.values()]
    if kind in ("inference", "none"):
        return 1.0
    if kind != "dataset-wise":
        raise SAEError(
            f"norm_activation = {kind!r}: each token is scaled by its own norm, which no weights can do",
            where=settings.where,
            cure="use an SAE with norm_activation dataset-wise",
        )
    if not norms or norms[0] <= 0 or any(norm != norms[0] for norm in norms):
        raise SAEError(
            f"dataset_average_activation_norm is {norms or 'missing'}, expected one positive norm of reading and writing",
            where=settings.where,
            cure="copy the configuration again: without it the scale of the residuals is not known",
        )
    return d_in**0.5 / norms[0]


def _matrices(settings: Settings, weights: Weights, d_in: int) -> dict[str, Tensor]:
    d_sae = int(settings.number("d_sae") or d_in * (settings.number("expansion_factor") or 0))
    taken = {
        "W_enc": weights.take("encoder.weight", (d_sae, d_in)).T.contiguous(),
        "b_enc": weights.take("encoder.bias", (d_sae,)),
        "W_dec": weights.take("decoder.weight", (d_in, d_sae)).T.contiguous(),
    }
    biased = settings.get("use_decoder_bias", True)
    taken["b_dec"] = weights.take("decoder.bias", (d_in,)) if biased else torch.zeros(d_in)
    return taken


def _thresholds(settings: Settings, weights: Weights, factor: float, like: Tensor) -> Tensor:
    """Thresholds [d_sae] on pre-activations of scaled residuals."""
    one = settings.number("jump_relu_threshold")
    if "log_jumprelu_threshold" in weights:
        return weights.take("log_jumprelu_threshold").exp().expand_as(like).contiguous()
    if one is None:
        raise SAEError("jump_relu_threshold is missing", where=settings.where, cure="copy the configuration again")
    return like.new_full(like.shape, one * factor)
