"""Folders of sae-lens, of any version, and its training checkpoints (https://github.com/decoderesearch/SAELens)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ato.errors import SAEError
from ato.models.sites import parse_hook
from ato.saes.architectures import ARCHITECTURES, find_architecture
from ato.saes.centring import centring_folded
from ato.saes.formats.format import Format, Published, norms_folded, refuse_transcoder, register, scaled
from ato.saes.formats.reading import Settings, Weights, keys, read_json, read_safetensors
from ato.saes.places import NOT_SAES, Claim, claim_of_hook

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"

REFUSED = {
    **dict.fromkeys(
        ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"), NOT_SAES["transcoder"]
    ),
    "crosscoder": NOT_SAES["crosscoder"],
    "temporal": "a temporal SAE, whose features depend on the tokens before",
    "abstopk": "an SAE with signed activations",
    "matching_pursuit": "an SAE whose encoder is an iteration",
}
"""Architectures of sae-lens that are no function of ``SparseAutoencoder``, and what they are."""
CHECKPOINTS = ("batchtopk", "matryoshka_batchtopk")
"""Architectures in training that become jumprelu SAEs with one threshold for all features."""

_NORMALISED = {
    "constant_norm_rescale": "each token is scaled to one norm, which no weights can do",
    "layer_norm": "each token is centred and scaled by its own deviation, which no weights can do",
    "covariance_whitening": "tokens are whitened by a matrix that stands elsewhere",
}
_HARMLESS = keys(
    """
    dtype device d_sae expansion_factor sae_lens_version sae_lens_training_version neuronpedia_id model_name
    model_class_name prepend_bos exclude_special_tokens context_size dataset_path dataset_trust_remote_code seqpos_slice
    decoder_init_norm l1_coefficient lp_norm l1_warm_up_steps l0_coefficient l0_warm_up_steps target_l0
    pre_act_loss_coefficient jumprelu_init_threshold jumprelu_bandwidth jumprelu_sparsity_loss_mode jumprelu_tanh_scale
    jumprelu_ste_to_input aux_loss_coefficient use_sparse_activations topk_threshold_lr matryoshka_widths
    use_matryoshka_aux_loss
    hook_eval streaming is_dataset_tokenized use_cached_activations cached_activations_path b_dec_init_method
    normalize_sae_decoder noise_scale from_pretrained_path decoder_orthogonal_init decoder_heuristic_init
    decoder_heuristic_init_norm init_encoder_as_decoder_transpose n_batches_in_buffer training_tokens finetuning_tokens
    store_batch_size_prompts act_store_device seed autocast autocast_lm compile_llm llm_compilation_mode compile_sae
    sae_compilation_mode train_batch_size_tokens train_batch_size adam_beta1 adam_beta2 mse_loss_normalization
    scale_sparsity_penalty_by_decoder_norm lr lr_scheduler_name lr_warm_up_steps lr_end lr_decay_steps n_restart_cycles
    finetuning_method use_ghost_grads feature_sampling_window dead_feature_window dead_feature_threshold n_eval_batches
    eval_batch_size_prompts n_eval_seqs log_to_wandb log_activations_store_to_wandb log_optimizer_state_to_wandb
    wandb_project wandb_id run_name wandb_entity wandb_log_frequency eval_every_n_wandb_logs resume n_checkpoints
    checkpoint_path verbose model_kwargs tokens_per_buffer store_batch_size
    total_training_tokens feature_sampling_method resample_batches feature_reinit_scale dead_feature_estimation_method
    """
)
"""Keys of configurations that say how an SAE was trained, and nothing of its function."""
_LOADED_SO = keys("fold_ln center_unembed dtype torch_dtype device device_map n_devices trust_remote_code")
"""Ways of loading a model that leave its residuals as they are."""


@register
class SAELens(Format):
    """``cfg.json`` and ``sae_weights.safetensors``."""

    name = "sae-lens"
    title = "sae-lens 3 to 6, trained SAEs and training checkpoints"
    weights_name = WEIGHTS
    files = f"{CONFIG} and {WEIGHTS}"
    function = (
        "every architecture of `ato.saes.ARCHITECTURES`; batchtopk and matryoshka_batchtopk as jumprelu with their "
        "threshold; decoder norms, fine-tuning factors and a known expected_average_only_in factor are folded"
    )
    place = "`hook_name`, `hf_hook_name` and `hook_layer`, and the path: `blocks.8.hook_resid_pre`"
    l0 = "`k`, `target_l0`, or the training details in the metadata"

    def fits(self, file: Path) -> bool:
        """Llama Scope's folders have ``config.json`` for ``cfg.json``."""
        return (file.parent / CONFIG).is_file() or not (file.parent / "config.json").is_file()

    def published(self, file: Path) -> Published:
        config = current_config(read_json(file.parent / CONFIG), where=file.parent / CONFIG)
        scaler = file.parent / SCALER
        if scaler.is_file() and config["metadata"].get("norm_scaling_factor") is None:
            config["metadata"]["norm_scaling_factor"] = Settings(read_json(scaler), scaler).positive("scaling_factor")
        return from_config(config, read_safetensors(file), where=file.parent)


def current_config(config: Mapping[str, Any], *, where: object) -> dict[str, Any]:
    """A configuration of any version of sae-lens in today's terms; before version 6 it was flat and had other names.

    Raises:
        SAEError: an activation function that is not supported.
    """
    config = dict(config)
    if config.get("metadata") is not None:
        return config | {"metadata": Settings(config, where).record("metadata")}
    renamed = {
        "hook_point": "hook_name",
        "hook_point_head_index": "hook_head_index",
        "hook_point_layer": "hook_layer",
        "activation_fn_str": "activation_fn",
    }
    config = {renamed.get(key, key): value for key, value in config.items()}
    kept = (
        *("model_name", "hook_name", "neuronpedia_id", "hook_layer", "hook_head_index", "hf_hook_name"),
        *("hook_name_out", "hf_hook_name_out", "model_from_pretrained_kwargs", "norm_scaling_factor"),
    )
    metadata = {name: config.pop(name) for name in kept if name in config}
    config["metadata"] = {name: value for name, value in metadata.items() if value is not None}
    activation = config.pop("activation_fn", None) or "relu"
    kinds = {kind.old_activation: kind for kind in ARCHITECTURES.values() if kind.old_activation is not None}
    kind = kinds.get(str(activation))
    if kind is None:
        cure = f"use {' or '.join(kinds)}"
        raise SAEError(f"activation function {activation!r} is not supported", where=where, cure=cure)
    config |= kind.settings_of_old(config)
    arguments = dict(config.pop("activation_fn_kwargs", None) or {})
    if other := sorted(set(arguments) - ({"k"} if kind.has_k else set())):
        values = ", ".join(f"{name} = {arguments[name]!r}" for name in other if arguments[name])
        if values:
            raise SAEError(f"the activation function is changed by {values}", where=where, cure="use another SAE")
    if config.get("d_sae") is None and config.get("expansion_factor") and config.get("d_in"):
        config["d_sae"] = config["d_in"] * config["expansion_factor"]
    return config


def from_config(config: Mapping[str, Any], weights: Weights, *, where: object) -> Published:
    """The SAE of a configuration (as ``current_config`` returns it) and the weights that belong to it.

    Raises:
        SAEError: a transcoder, normalisation that cannot be folded, keys or weights that are not understood.
    """
    settings = Settings(config, where)
    metadata = dict(settings.get("metadata", {}))
    architecture = settings.get("architecture")
    if architecture in REFUSED:
        raise SAEError(
            f"architecture {architecture!r} is not supported: it is {REFUSED[architecture]}",
            where=where,
            cure=f"use one of {', '.join(ARCHITECTURES)}",
        )
    claims = _claims(metadata, where)
    _check_reshaping(settings, claims, where)
    _check_model(metadata, claims, where)
    factor = _factor(settings, metadata, where)
    rescale = bool(settings.get("rescale_acts_by_decoder_norm", architecture in CHECKPOINTS))
    b_dec_first = bool(settings.get("apply_b_dec_to_input", True))
    if architecture in CHECKPOINTS:
        metadata["l0"] = settings.number("k")
        name, k = "jumprelu", None
        threshold = weights.take_number("topk_threshold")
        taken = {key: weights.take(key) for key in ("W_enc", "b_enc", "W_dec", "b_dec")}
        taken["threshold"] = taken["b_enc"].new_full(taken["b_enc"].shape, threshold / (factor if rescale else 1.0))
    else:
        kind = find_architecture(architecture)
        name, k = kind.name, settings.whole("k") if kind.has_k else None
        taken = {key: _taken(weights, key) for key in kind.file_keys}
        if not kind.has_k:
            settings.refuse("rescale_acts_by_decoder_norm", "only of topk SAEs is it known what that means")
    _check_sizes(taken, settings, where)
    taken["W_dec"] = taken["W_dec"] * _finetuning(settings, weights, where)
    weights.finish()
    settings.finish(_HARMLESS)
    common = find_architecture(name).fold(scaled(taken, factor))
    if rescale:
        common = norms_folded(common)
    if _popped_centring(metadata):
        common = centring_folded(common, b_dec_first)
    details = metadata.get("training_architecture_details") or {}
    metadata["l0"] = metadata.get("l0") or details.get("target_l0") or details.get("k") or config.get("target_l0")
    return Published(
        name,
        common,
        k=k,
        apply_b_dec_to_input=b_dec_first,
        scaling=float(metadata.pop("folded_scaling", 1.0)) * factor,
        metadata=metadata,
        claims=tuple(claims),
    )


def _taken(weights: Weights, key: str) -> Tensor:
    if key == "threshold" and "log_threshold" in weights and "threshold" not in weights:
        return weights.take("log_threshold").exp()  # training checkpoints of before version 6.30
    return weights.take(key)


def _claims(metadata: Mapping[str, Any], where: object) -> list[Claim]:
    """What the metadata say of the place."""
    for key in ("hook_name_out", "hf_hook_name_out"):
        refuse_transcoder(metadata.get(key.removesuffix("_out")), metadata.get(key) or None, where)
    if metadata.get("hook_head_index") is not None:
        raise SAEError(
            f"hook_head_index = {metadata['hook_head_index']}: it reads one attention head alone",
            where=where,
            cure="use an SAE of all heads",
        )
    claims = [claim for key in ("hook_name", "hf_hook_name") for claim in claim_of_hook(metadata.get(key), key)]
    number = metadata.get("hook_layer")
    return claims if number is None else [*claims, Claim(None, int(number), f"hook_layer {number}")]


def _check_reshaping(settings: Settings, claims: list[Claim], where: object) -> None:
    # sae-lens strings the heads together before it encodes hook_z; the site attn_z is read in that form already.
    if settings.get("reshape_activations", "none") != "none" and not any(claim.site == "attn_z" for claim in claims):
        raise SAEError("the SAE reads attention heads but names no hook", where=where, cure="add hook_name")


def _check_model(metadata: Mapping[str, Any], claims: list[Claim], where: object) -> None:
    """Refuse SAEs of a model whose weights were changed on loading, other than by centring."""
    loaded = metadata.get("model_from_pretrained_kwargs") or {}
    changed = {
        key: value for key, value in loaded.items() if value and key not in {*_LOADED_SO, "center_writing_weights"}
    }
    if changed.pop("fold_value_biases", False) and any(claim.site == "attn_z" for claim in claims):
        changed["fold_value_biases"] = True
    if changed:
        raise SAEError(
            f"its model was loaded with {json.dumps(changed)[:80]}, which may change what it reads",
            where=where,
            cure="remove the entry of model_from_pretrained_kwargs if it changes no residuals, else use another SAE",
        )


def _popped_centring(metadata: dict[str, Any]) -> bool:
    """Whether the model's writing weights were centred; noted in the metadata as folded."""
    loaded = dict(metadata.get("model_from_pretrained_kwargs") or {})
    if not loaded.pop("center_writing_weights", False):
        return False
    metadata["model_from_pretrained_kwargs"], metadata["centring_folded"] = loaded, True
    hook = parse_hook(str(metadata.get("hook_name") or ""))
    return hook is None or hook.site != "attn_z"  # the heads' outputs are not written yet


def _factor(settings: Settings, metadata: dict[str, Any], where: object) -> float:
    """Factor on the residuals that is to be folded into the weights."""
    kind = settings.get("normalize_activations", "none")
    own = Settings({"norm_scaling_factor": metadata.pop("norm_scaling_factor", None)}, where)
    factor = own.positive("norm_scaling_factor") or settings.positive("norm_scaling_factor")
    if kind in ("none", False):
        return 1.0
    if kind in (True, "expected_average_only_in") and factor:
        return float(factor)
    why = _NORMALISED.get(str(kind), "the factor on the residuals is not known")
    cure = "add norm_scaling_factor = sqrt(d_in) / mean norm of the residuals to the configuration, or fold it with "
    raise SAEError(
        f"activations are normalised by {kind!r} outside the weights: {why}",
        where=where,
        cure="use another SAE"
        if str(kind) in _NORMALISED
        else cure + "fold_activation_norm_scaling_factor of sae-lens",
    )


def _finetuning(settings: Settings, weights: Weights, where: object) -> Tensor | float:
    """Factors [d_sae, 1] on the activations in the decoder, from a fine-tuning; 1 where there are none."""
    expected = bool(settings.get("finetuning_scaling_factor", False))
    found = [name for name in ("finetuning_scaling_factor", "scaling_factor") if name in weights]
    if not found:
        if expected:
            raise SAEError(
                "finetuning_scaling_factor is set, but missing among the weights", where=where, cure="copy both"
            )
        return 1.0
    factors = weights.take(found[0])
    if not expected and not bool((factors == 1).all()):
        raise SAEError(
            f"the activations are rescaled by {found[0]}, which the configuration does not mention",
            where=where,
            cure="set finetuning_scaling_factor to true in it, or multiply the factors into W_dec",
        )
    return factors.reshape(-1, 1)


def _check_sizes(taken: Mapping[str, Tensor], settings: Settings, where: object) -> None:
    said, found = (settings.get("d_in"), settings.get("d_sae")), tuple(taken["W_enc"].shape)
    if found != said:
        raise SAEError(
            f"{CONFIG} says {said[0]} x {said[1]}, W_enc is {' x '.join(map(str, found))}",
            where=where,
            cure="config and weights belong to different SAEs, or W_enc was transposed: copy both again",
        )
