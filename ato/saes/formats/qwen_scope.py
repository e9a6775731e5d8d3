"""Qwen Scope: TopK SAEs in ``layer12.sae.pt``, whose k stands in the repository's name alone."""

import re
from pathlib import Path

from ato.errors import SAEError
from ato.saes.formats.format import Format, Published, register
from ato.saes.formats.reading import read_torch
from ato.saes.places import Claim

_REPOSITORY = re.compile(r"SAE-Res-(.+?)-W(\d+)K-L0_(\d+)")


@register
class QwenScope(Format):
    """``W_enc`` [d_sae, d_in] and ``W_dec`` [d_in, d_sae]; ``b_dec`` is not subtracted first."""

    name = "qwen-scope"
    title = "Qwen Scope"
    weights_name = "layer*.sae.pt"
    files = "layer12.sae.pt in the repository's folder"
    function = "topk, without b_dec on the input"
    place = "the file's name; resid_post"
    l0 = "`L0_50` of the repository's name, which is k"

    def published(self, file: Path) -> Published:
        named = _REPOSITORY.search(file.absolute().as_posix())
        if named is None:
            raise SAEError(
                "k of a Qwen Scope SAE stands in its repository's name, which the path lacks",
                where=file,
                cure="keep the folder's name, such as SAE-Res-Qwen3-1.7B-Base-W32K-L0_50",
            )
        model, width, k = named[1], int(named[2]) * 1024, int(named[3])
        weights = read_torch(file)
        encoder, decoder = weights.take("W_enc"), weights.take("W_dec")
        if encoder.ndim != 2 or tuple(decoder.shape) != tuple(reversed(encoder.shape)):
            raise SAEError(
                f"W_enc is {list(encoder.shape)} and W_dec {list(decoder.shape)}, expected [d_sae, d_in] and [d_in, d_sae]",
                where=file,
                cure="download the file again",
            )
        d_sae, d_in = encoder.shape
        common = {
            "W_enc": encoder.T.contiguous(),
            "b_enc": weights.take("b_enc", (d_sae,)),
            "W_dec": decoder.T.contiguous(),
            "b_dec": weights.take("b_dec", (d_in,)),
        }
        weights.finish()
        if width != d_sae:
            raise SAEError(
                f"the path says {width:,} features (W{named[2]}K), W_enc has {d_sae:,}",
                where=file,
                cure="the file belongs into another folder, or was transposed",
            )
        claims = (Claim("resid_post", None, f"the repository {named[0]}"),)
        return Published("topk", common, k=k, metadata={"model_name": f"Qwen/{model}", "l0": float(k)}, claims=claims)
