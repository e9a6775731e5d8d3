"""Gemma Scope (Lieberum et al., 2024): JumpReLU SAEs of Gemma 2 in ``params.npz``, as its tutorial reads them."""

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from ato.errors import SAEError
from ato.saes.formats.format import Format, Published, refuse_transcoder, register
from ato.saes.formats.reading import Weights, read_npz
from ato.saes.places import nominal_l0

KEYS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")


@register
class GemmaScope(Format):
    """``params.npz``: ``a = relu(x W_enc + b_enc)`` where above the threshold; ``b_dec`` is not subtracted first."""

    name = "gemma-scope"
    title = "Gemma Scope"
    weights_name: ClassVar[str] = "*.npz"
    files = "params.npz"
    function = "jumprelu, without b_dec on the input"
    place = "the path: `layer_20`, and the repository's `-res`, `-mlp`, `-att` or `-transcoders`"
    l0 = "`average_l0_71` of the path"

    def published(self, file: Path) -> Published:
        weights = read_npz(file)
        l0 = nominal_l0("/".join(file.absolute().parts[-5:]))
        return Published("jumprelu", jumprelu_weights(weights), metadata={"l0": l0})


def jumprelu_weights(weights: Weights) -> dict[str, Tensor]:
    """``W_enc`` [d_in, d_sae], ``b_enc``, ``W_dec`` [d_sae, d_in], ``b_dec`` and ``threshold`` of Gemma Scope's files.

    Matrices are also written ``w_enc`` and ``w_dec``. A decoder that writes at another width is a transcoder's.
    """
    missing = [key for key in KEYS if key not in weights and key.replace("W_", "w_") not in weights]
    if missing:
        raise SAEError(
            f"weights {', '.join(missing)} are missing, found {', '.join(sorted(weights)) or 'none'}",
            where=weights.where,
            cure=f"expected weights: {', '.join(KEYS)}",
        )
    taken = {key: weights.take(key if key in weights else key.replace("W_", "w_")) for key in KEYS}
    if "scaling_factor" in weights and not bool((weights.take("scaling_factor") == 1).all()):
        raise SAEError(
            "the activations are rescaled by scaling_factor", where=weights.where, cure="multiply it into W_dec"
        )
    weights.finish()
    (encoder, decoder) = (taken[name] for name in ("W_enc", "W_dec"))
    if decoder.ndim == 2 and encoder.ndim == 2 and decoder.shape[0] == encoder.shape[1]:
        refuse_transcoder(f"{len(encoder)} dimensions", f"{decoder.shape[1]} dimensions", weights.where)
    return taken
