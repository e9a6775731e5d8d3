"""EleutherAI's sparsify (formerly sae): ``cfg.json`` and ``sae.safetensors`` in a folder named after the module."""

from pathlib import Path

import torch

from ato.errors import SAEError
from ato.saes.formats.format import Format, Published, register
from ato.saes.formats.reading import Settings, Weights, read_json, read_safetensors
from ato.saes.places import NOT_SAES, Claim, claim_of_hook


@register
class Sparsify(Format):
    """``relu`` of the k largest of ``(x - b_dec) encoder.weight' + encoder.bias``; ``W_dec`` is [d_sae, d_in]."""

    name = "sparsify"
    title = "sparsify (EleutherAI)"
    weights_name = "sae.safetensors"
    files = "cfg.json and sae.safetensors in layers.5.mlp"
    function = "topk; multi_topk is a matter of training; transcode, skip_connection, signed and groupmax are refused"
    place = "the folder's name: `layers.5` is resid_post, `layers.5.mlp` mlp_out"
    l0 = "`k`"

    def published(self, file: Path) -> Published:
        settings = Settings(read_json(file.parent / "cfg.json"), file.parent / "cfg.json")
        settings.refuse("transcode", f"it is {NOT_SAES['transcoder']}", "use an SAE")
        settings.refuse("skip_connection", "with a skip connection it is a transcoder, not an SAE", "use an SAE")
        settings.refuse("signed", "its activations have signs")
        settings.refuse("input_unit_norm", "each token is scaled to one norm, which no weights can do")
        for key in ("batch_topk", "sample_topk"):
            settings.refuse(key, "the k largest are chosen over several tokens")
        if (activation := settings.get("activation", "topk")) != "topk":
            raise SAEError(f"activation {activation!r} is not supported", where=settings.where, cure="use a topk SAE")
        d_in = settings.whole("d_in")
        d_sae = int(settings.number("num_latents") or d_in * (settings.number("expansion_factor") or 0))
        k = settings.whole("k")
        claims = claim_of_hook(settings.get("hook_name"), "hook_name")
        if (layer := settings.number("hook_layer")) is not None:
            claims.append(Claim(None, int(layer), f"hook_layer {layer}"))
        # How it was trained: with a second loss for 4 k, and with decoder rows of length 1.
        settings.finish({"multi_topk", "normalize_decoder", "expansion_factor", "num_latents"})
        common = _weights(read_safetensors(file), d_in, d_sae)
        return Published("topk", common, k=k, apply_b_dec_to_input=True, claims=tuple(claims))


def _weights(weights: Weights, d_in: int, d_sae: int) -> dict[str, torch.Tensor]:
    common = {
        "W_enc": weights.take("encoder.weight", (d_sae, d_in)).T.contiguous(),
        "b_enc": weights.take("encoder.bias", (d_sae,)),
        "W_dec": weights.take("W_dec", (d_sae, d_in)),
        "b_dec": weights.take("b_dec", (d_in,)),
    }
    weights.finish()
    return common
