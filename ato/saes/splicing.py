"""Losses of the running model with an SAE's reconstruction in place of the residual."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from ato.models.language_model import LanguageModel
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.edited_losses import Hidden, Spliced, SpliceLosses, edited_losses

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence


def splice_losses(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    site: str = "resid_post",
    kl: bool = False,
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses with each SAE's reconstruction, or zero, in place of the residual at its layer.

    In the residual stream the layers below are run once per batch and shared by all SAEs and edits, and each edit
    runs the blocks above its layer only; at other sites each edit runs the whole model. Edited are all positions
    except the first of a sequence and special tokens, which carry massive activations that no SAE here is trained on,
    and (where ``median_norm`` is given) tokens whose norm exceeds ``max_norm_multiple`` times the layer's median.

    Args:
        saes: name -> (layer, SAE).
        sequences: held-out sequences; losses come back in their order.
        median_norm: layer -> median norm of what the SAEs read.
        site: what the SAEs read and what is replaced, see ``ato.models.sites.SITES``.
        kl: also take the KL divergence from the unedited model, whose distributions are made once for all SAEs, a few
            hundred tokens at a time.
        on_sequences: called with the number of sequences after each batch.
    """
    layers = sorted({layer for layer, _ in saes.values()})
    limits = norm_limits(median_norm, max_norm_multiple)

    def edited(layer: int, sae: SparseAutoencoder | None) -> Hidden:
        return lambda batch: batch.hidden(layer, partial(_spliced, batch.editable, limits.get(layer), sae))

    zero: dict[Spliced, Hidden] = {(None, layer): edited(layer, None) for layer in layers}
    return edited_losses(
        model,
        sequences,
        zero | {(name, layer): edited(layer, sae) for name, (layer, sae) in saes.items()},
        layers=layers,
        site=site,
        batch_size=batch_size,
        kl=kl,
        on_sequences=on_sequences,
    )


def norm_limits(median_norm: Mapping[int, float] | None, multiple: float) -> dict[int, float]:
    """Layer -> norm beyond which a token is left as it is; none without medians."""
    return {layer: multiple * norm for layer, norm in (median_norm or {}).items()}


def edited_tokens(editable: torch.Tensor, limit: float | None, x: torch.Tensor) -> torch.Tensor:
    """[b, t], true for editable tokens whose residual in x [b, t, d] is no longer than the limit."""
    return editable if limit is None else editable & (x.float().norm(dim=-1) <= limit)


def _spliced(
    editable: torch.Tensor, limit: float | None, sae: SparseAutoencoder | None, x: torch.Tensor
) -> torch.Tensor:
    """x [b, t, d] with the SAE's reconstruction, or zero without an SAE, at the edited tokens."""
    chosen = edited_tokens(editable, limit, x)
    if sae is None:
        return x.masked_fill(chosen[..., None], 0.0)
    edited = x.clone()
    edited[chosen] = sae.reconstruct(x[chosen]).to(x.dtype)
    return edited
