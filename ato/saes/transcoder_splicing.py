"""What a model loses when transcoders' outputs take the place of the MLP's: cross-entropy recovered, and KL."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel
from ato.saes.edited_losses import Hidden, SpliceBatch, Spliced, SpliceLosses, edited_losses
from ato.saes.transcoder import Transcoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence


def transcoder_splice(
    model: LanguageModel,
    transcoders: Mapping[str, tuple[int, Transcoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    sites: tuple[str, str] = ("mlp_in", "mlp_out"),
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses and KL with each transcoder's output, or zero, in place of what its layer writes.

    A transcoder reads x of the very pass that it changes. Edited are all positions except the first of a sequence
    and special tokens, as in ``ato.saes.splicing``.

    Args:
        model: the model.
        transcoders: name -> (layer, transcoder).
        sequences: held-out sequences; sums come back in their order.
        batch_size: sequences in one pass.
        sites: what is read and what is replaced; the first must be passed before the second.
        on_sequences: called with the number of sequences after each batch.

    Raises:
        SAEError: a transcoder of another layer, site or width.
    """
    for layer, transcoder in transcoders.values():
        transcoder.check_sites(*sites, layer)
    layers = sorted({layer for layer, _ in transcoders.values()})
    zero: dict[Spliced, Hidden] = {(None, layer): partial(_hidden, layer, None, sites) for layer in layers}
    return edited_losses(
        model,
        sequences,
        zero | {(name, layer): partial(_hidden, layer, coder, sites) for name, (layer, coder) in transcoders.items()},
        layers=layers,
        site=sites[1],
        batch_size=batch_size,
        on_sequences=on_sequences,
    )


def _hidden(layer: int, transcoder: Transcoder | None, sites: tuple[str, str], batch: SpliceBatch) -> Tensor:
    """[b, t, d] with the transcoder's output, or 0, in place of what the layer writes."""
    read: dict[int, Tensor] = {}

    def noted(site: str, at: int, x: Tensor) -> Tensor:
        read[at] = x
        return x[:0]

    edit: Edit = partial(_replaced, batch.editable, transcoder, read, layer)
    return batch.run({layer: edit}, beside={} if transcoder is None else {sites[0]: [layer]}, keep_beside=noted)


def _replaced(
    editable: Tensor, transcoder: Transcoder | None, read: Mapping[int, Tensor], layer: int, y: Tensor
) -> Tensor:
    """y [b, t, d] with the transcoder's output, or 0, at the editable tokens."""
    if transcoder is None:
        return y.masked_fill(editable[..., None], 0.0)
    edited = y.clone()
    edited[editable] = transcoder.reconstruct(read[layer].view(*y.shape[:2], -1)[editable]).to(y.dtype)
    return edited
