"""dictionary_learning (Marks, Karvonen and Mueller): ``ae.pt`` and ``config.json`` with the class that was trained."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from ato.errors import SAEError
from ato.saes.architectures import find_architecture
from ato.saes.formats.format import Format, Published, register
from ato.saes.formats.reading import Settings, Weights, keys, read_json, read_torch
from ato.saes.places import Claim, claims_of_path

_HARMLESS = keys(
    """
    trainer_class lr steps auxk_alpha warmup_steps decay_start threshold_beta threshold_start_step top_k_aux seed device
    lm_name wandb_name l1_penalty resample_steps sparsity_warmup_steps sparsity_function sparsity_penalty p_start p_end
    anneal_start anneal_end sparsity_queue_length n_sparsity_updates bandwidth group_fractions group_weights norm_factor
    n_steps warmup_length sparsity_coeff initial_sparsity_penalty sparsity_coefficient sparsity_loss_type log_queue
    """
)
"""Keys of trainers that say how it was trained; of ``norm_factor`` the biases are rescaled before it is saved."""
_BUFFER = keys(
    "d_submodule n_ctxs ctx_len refresh_batch_size out_batch_size device add_special_tokens remove_bos max_act_norm dtype"
)


@register
class DictionaryLearning(Format):
    """Its classes, each by the formula of its ``encode`` with the arguments that ``forward`` gives it."""

    name = "dictionary-learning"
    title = "dictionary_learning"
    weights_name = "ae*.pt"
    files = "ae.pt and config.json"
    function = (
        "AutoEncoder and AutoEncoderNew as standard, GatedAutoEncoder as gated, AutoEncoderTopK as topk, "
        "JumpReluAutoEncoder, BatchTopKSAE and MatryoshkaBatchTopKSAE as jumprelu with their threshold"
    )
    place = "`submodule_name` and `layer` of the trainer, and the path: `resid_post_layer_12`"
    l0 = "`k` or `target_l0` of the trainer"

    def published(self, file: Path) -> Published:
        # Checkpoints stand in a folder of their own beside the configuration.
        folder = file.absolute().parent
        folder = folder.parent if folder.name == "checkpoints" else folder
        where = folder / "config.json"
        config = Settings(read_json(where), where)
        trainer = Settings(config.record("trainer"), where)
        claims = _claims(trainer, Settings(config.record("buffer"), where))
        config.finish(())
        name = str(trainer.get("dict_class"))
        if name not in _CLASSES:
            raise SAEError(
                f"dict_class {trainer.get('dict_class')!r} is not supported",
                where=where,
                cure=f"use {', '.join(_CLASSES)}",
            )
        d_in, d_sae = trainer.whole("activation_dim"), trainer.whole("dict_size")
        weights = read_torch(file)
        k = _agreed_k(trainer, weights)
        architecture, common, subtracts = _CLASSES[name](weights, trainer, d_in, d_sae)
        weights.finish()
        metadata = {"l0": k or trainer.number("target_l0"), "model_name": trainer.get("lm_name")}
        trainer.finish(_HARMLESS)
        if architecture == "topk" and k is None:
            raise SAEError("k is missing", where=where, cure="copy config.json again")
        return Published(
            architecture,
            common,
            k=k if architecture == "topk" else None,
            apply_b_dec_to_input=subtracts,
            metadata=metadata,
            claims=tuple(claims),
        )


def _claims(trainer: Settings, buffer: Settings) -> list[Claim]:
    reads = buffer.get("io", "out")
    if reads != "out":
        what = "the input of its module" if reads == "in" else f"{reads}, as a transcoder does"
        raise SAEError(f"it reads {what}", where=buffer.where, cure="use a dictionary of a module's output")
    buffer.finish(_BUFFER)
    layer, module = trainer.number("layer"), trainer.get("submodule_name")
    named = [] if module is None else claims_of_path(PurePosixPath(str(module)))
    claims = [replace(claim, source=f"submodule_name {module}") for claim in named]
    return claims if layer is None else [*claims, Claim(None, int(layer), f"trainer.layer {layer}")]


def _agreed_k(trainer: Settings, weights: Weights) -> int | None:
    """k of the configuration and of the file, which must agree; None if neither has one."""
    said = trainer.whole("k") if trainer.number("k") is not None else None
    found = int(weights.take_number("k")) if "k" in weights else None
    if said is not None and found is not None and said != found:
        raise SAEError(
            f"k = {said} in the configuration, {found} in the weights", where=trainer.where, cure="copy both again"
        )
    return found if said is None else said


def _linear(weights: Weights, d_in: int, d_sae: int, bias: str) -> dict[str, Tensor]:
    """Encoder and decoder of two linear modules, the decoder's bias apart."""
    return {
        "W_enc": weights.take("encoder.weight", (d_sae, d_in)).T.contiguous(),
        "b_enc": weights.take("encoder.bias", (d_sae,)),
        "W_dec": weights.take("decoder.weight", (d_in, d_sae)).T.contiguous(),
        "b_dec": weights.take(bias, (d_in,)),
    }


def _one_threshold(weights: Weights, like: Tensor) -> Tensor:
    threshold = weights.take_number("threshold")
    if threshold < 0:
        raise SAEError(
            f"threshold = {threshold:g}: it was saved before training had set it",
            where=weights.where,
            cure="use a checkpoint after threshold_start_step",
        )
    return like.new_full(like.shape, threshold)


_Read = tuple[str, dict[str, Tensor], bool]
"""Architecture, weights, and whether ``b_dec`` is subtracted first."""


def _auto_encoder(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    return "standard", _linear(weights, d_in, d_sae, "bias"), True


def _auto_encoder_new(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    return "standard", _linear(weights, d_in, d_sae, "decoder.bias"), False


def _gated(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    taken = {
        "W_enc": weights.take("encoder.weight", (d_sae, d_in)).T.contiguous(),
        "W_dec": weights.take("decoder.weight", (d_in, d_sae)).T.contiguous(),
        "b_dec": weights.take("decoder_bias", (d_in,)),
        "r_mag": weights.take("r_mag", (d_sae,)),
        "b_gate": weights.take("gate_bias", (d_sae,)),
        "b_mag": weights.take("mag_bias", (d_sae,)),
    }
    return "gated", find_architecture("gated").fold(taken), True


def _top_k(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    weights.drop("threshold")  # saved too, but used only where encode is asked for it
    return "topk", _linear(weights, d_in, d_sae, "b_dec"), True


def _batch_top_k(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    common = _linear(weights, d_in, d_sae, "b_dec")
    return "jumprelu", common | {"threshold": _one_threshold(weights, common["b_enc"])}, True


def _matrices(weights: Weights, d_in: int, d_sae: int) -> dict[str, Tensor]:
    """Encoder and decoder that are parameters, not modules."""
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    return {name: weights.take(name, shape) for name, shape in shapes.items()}


def _matryoshka(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    common = _matrices(weights, d_in, d_sae)
    weights.drop("group_sizes")  # all groups are active after loading
    trainer.get("group_sizes")
    return "jumprelu", common | {"threshold": _one_threshold(weights, common["b_enc"])}, True


def _jump_relu(weights: Weights, trainer: Settings, d_in: int, d_sae: int) -> _Read:
    # relu(pre (pre > threshold)): a negative threshold lets through no more than 0 does.
    threshold = weights.take("threshold", (d_sae,)).clamp(min=0.0)
    return "jumprelu", _matrices(weights, d_in, d_sae) | {"threshold": threshold}, False


_CLASSES: Mapping[str, Callable[[Weights, Settings, int, int], Any]] = {
    "AutoEncoder": _auto_encoder,
    "AutoEncoderNew": _auto_encoder_new,
    "GatedAutoEncoder": _gated,
    "AutoEncoderTopK": _top_k,
    "BatchTopKSAE": _batch_top_k,
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "JumpReluAutoEncoder": _jump_relu,
}
