"""Gemma Scope 2 (2025): JumpReLU SAEs of Gemma 3, ``config.json`` and ``params.safetensors`` with lower-case names."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from ato.errors import SAEError
from ato.saes.formats.format import Format, Published, refuse_transcoder, register
from ato.saes.formats.gemma_scope import jumprelu_weights
from ato.saes.formats.reading import Settings, read_json, read_safetensors
from ato.saes.places import Claim, claim_of_hook


@register
class GemmaScope2(Format):
    """As Gemma Scope's function, with a configuration that some folders lack."""

    name = "gemma-scope-2"
    title = "Gemma Scope 2"
    weights_name = "params*.safetensors"
    files = "params.safetensors and, mostly, config.json"
    function = "jumprelu, without b_dec on the input; transcoders and affine connections are refused"
    place = "`hf_hook_point_in`, and the path: `resid_post/layer_12_width_16k_l0_small`"
    l0 = "`l0` of the configuration"
    # Gemma Scope's attention SAEs read the heads' outputs side by side, before their projection.
    path_words: ClassVar[Mapping[str, str]] = {"attn_out": "attn_z"}

    def published(self, file: Path) -> Published:
        config = file.parent / "config.json"
        settings = Settings(read_json(config) if config.is_file() else {}, config)
        claims = _claims(settings)
        weights = jumprelu_weights(read_safetensors(file))
        said, found = settings.number("width"), weights["W_enc"].shape[-1]
        if said is not None and said != found:
            raise SAEError(
                f"width = {said}, the weights have {found} features", where=config, cure="copy both again: they differ"
            )
        metadata = {"l0": settings.number("l0"), "model_name": settings.get("model_name")}
        settings.finish({"dtype", "device"})
        return Published(
            "jumprelu",
            weights,
            metadata=metadata,
            claims=tuple(claims),
        )


def _claims(settings: Settings) -> list[Claim]:
    """The place that a configuration names; refuses what is no SAE."""
    reads = settings.get("hf_hook_point_in")
    refuse_transcoder(reads, settings.get("hf_hook_point_out"), settings.where)
    kind = settings.get("type", "sae")
    if kind != "sae":
        raise SAEError(f"type = {kind!r}: it is no SAE", where=settings.where, cure="use a folder with type sae")
    settings.refuse("affine_connection", "with an affine connection it is a transcoder, not an SAE", "use an SAE")
    architecture = settings.get("architecture", "jump_relu")
    if architecture not in ("jump_relu", "jumprelu"):
        raise SAEError(
            f"architecture {architecture!r} is not that of Gemma Scope 2", where=settings.where, cure="use jump_relu"
        )
    return claim_of_hook(reads, "hf_hook_point_in")
