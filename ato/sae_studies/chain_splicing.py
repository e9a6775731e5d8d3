"""What a model loses when several layers are replaced in one pass: by SAEs, or by a chain of innovation SAEs.

In a chain the first layer is rebuilt by an SAE, x_hat; each later one is T x_hat + b plus its decoded innovation, x_hat
being what took the place of its source layer in the same pass. A source layer that is not replaced is read as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from ato.errors import InputError
from ato.models.forward import Edit
from ato.models.language_model import LanguageModel
from ato.sae_studies.innovation import InnovationSAE
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.edited_losses import Hidden, SpliceBatch, Spliced, SpliceLosses, edited_losses
from ato.saes.splicing import edited_tokens, norm_limits

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

Coder = SparseAutoencoder | InnovationSAE


def chain_losses(
    model: LanguageModel,
    chains: Mapping[str, Mapping[int, Coder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    site: str = "resid_post",
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses and KL with the reconstructions of each chain, or zero, in place of the residuals at all of its layers.

    Tokens that are edited are those of ``splice_losses``; as there, chains in the residual stream share the blocks up to
    their first layer.

    Args:
        model: the model.
        chains: name -> layer -> what replaces it; all of the same layers, so that they share clean and zero losses.
        sequences: held-out sequences; sums come back in their order.
        batch_size: sequences in one pass.
        median_norm: layer -> median norm of the residuals.
        max_norm_multiple: of it, beyond which a token is left as it is.
        site: of the residuals, that of the SAEs.
        on_sequences: called with the number of sequences after each batch.

    Returns:
        Zero losses are under the last layer.

    Raises:
        InputError: no chain, chains of different layers, or an innovation SAE of another layer than it stands at.
    """
    layers = _layers(chains)
    # Sources below the first replaced layer are the same in every chain; those above it are seen as they pass.
    sources = {layer for chain in chains.values() for layer in _sources(chain) if layer < layers[0]}
    limits = norm_limits(median_norm, max_norm_multiple)

    def replaced(coders: Mapping[int, Coder | None]) -> Hidden:
        return lambda batch: batch.hidden_with(_Replacing(batch, coders, limits).edits, layers[0])

    edits: dict[Spliced, Hidden] = {(name, layers[-1]): replaced(coders) for name, coders in chains.items()}
    return edited_losses(
        model,
        sequences,
        edits | {(None, layers[-1]): replaced(dict.fromkeys(layers))},
        layers=sorted({layers[0], *sources}),
        site=site,
        batch_size=batch_size,
        on_sequences=on_sequences,
    )


def _layers(chains: Mapping[str, Mapping[int, Coder]]) -> list[int]:
    """The layers of all chains, ascending."""
    of_each = {tuple(sorted(coders)) for coders in chains.values()}
    if len(of_each) != 1 or of_each == {()}:
        raise InputError("chains of different layers, or none", cure="give chains of the same layers")
    for name, coders in chains.items():
        for layer, coder in coders.items():
            if isinstance(coder, InnovationSAE) and coder.layers[1] != layer:
                what = f"an innovation SAE of layer {coder.layers[1]} stands at layer {layer}"
                raise InputError(what, where=name, cure="list it under its target layer")
    return list(of_each.pop())


def _sources(coders: Mapping[int, Coder | None]) -> set[int]:
    """Layers that innovation SAEs of a chain stand on."""
    return {coder.layers[0] for coder in coders.values() if isinstance(coder, InnovationSAE)}


class _Replacing:
    """The edits of one pass: what each layer handed on is kept for the innovation SAEs above it."""

    def __init__(self, batch: SpliceBatch, coders: Mapping[int, Coder | None], limits: Mapping[int, float]):
        self._handed_on = dict(batch.residuals)
        known = {layer for layer in self._handed_on if layer < min(coders)}
        self.edits: dict[int, Edit] = {
            layer: partial(self._edit, layer) for layer in (_sources(coders) | set(coders)) - known
        }
        self._editable, self._coders, self._limits = batch.editable, coders, limits

    def _edit(self, layer: int, y: Tensor) -> Tensor:
        if layer in self._coders:
            y = self._replaced(layer, y)
        self._handed_on[layer] = y
        return y

    def _replaced(self, layer: int, y: Tensor) -> Tensor:
        coder, chosen = self._coders[layer], edited_tokens(self._editable, self._limits.get(layer), y)
        if coder is None:
            return y.masked_fill(chosen[..., None], 0.0)
        if isinstance(coder, InnovationSAE):
            made = coder.reconstruct(self._handed_on[coder.layers[0]][chosen], y[chosen])
        else:
            made = coder.reconstruct(y[chosen])
        edited = y.clone()
        edited[chosen] = made.to(y.dtype)
        return edited
