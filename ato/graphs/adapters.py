"""Transcoder adapters in graphs: their features as nodes, beside the base model's MLPs.

An adapter's features are written beside an MLP that works on. With the base path, edges pass that MLP, linearised as
elsewhere, and an adapter leaves nothing unexplained. Without it, what the MLP gives is an error node of its layer and
position, and edges are from feature to feature alone.
"""

from dataclasses import dataclass

import torch

from ato.errors import ModelError, SAEError
from ato.models.families import ModelParts
from ato.saes.adapter import TranscoderAdapter, check_fit
from ato.saes.transcoder import Transcoder


@dataclass(frozen=True, eq=False)
class AdapterFeatures(Transcoder):
    """One layer of an adapter, as a transcoder that adds to what the MLP of its layer gives."""

    base_path: bool = True
    """Whether edges pass the base model's MLP; otherwise what it gives is error."""

    def added(self, x: torch.Tensor) -> torch.Tensor:
        """[..., d] that the adapter adds, of what the MLP reads [..., d]."""
        rows = x.flatten(0, -2)
        return (self.encode(rows) @ self.W_dec + self.b_dec).unflatten(0, x.shape[:-1])


def adapter_features(
    adapter: TranscoderAdapter, parts: ModelParts, base_path: bool = True
) -> dict[int, AdapterFeatures]:
    """Layer -> its features, but for layers that are switched off: there the base model's MLP works alone.

    Args:
        adapter: of the model.
        parts: of the model that the graph is of, which has the base model's MLPs, as a checkpoint of an adapter has.
        base_path: see ``AdapterFeatures``.

    Raises:
        ModelError: blocks that change what their MLP gives before they add it, or that have no MLP of their own.
        MismatchError: an adapter of another model.
        SAEError: every layer is switched off.
    """
    check_fit(parts, adapter)
    layout = parts.layout
    assert layout is not None
    if layout.mlp_out != layout.mlp or layout.multiplier:
        what = f"blocks of the kind {type(parts.blocks[0]).__name__} change what their MLP and its adapter give"
        raise ModelError(what, cure="make graphs of adapters of Llama, Qwen, GPT-2, Pythia or the like")
    kept = {layer: one for layer, one in adapter.layers.items() if layer not in adapter.disabled}
    if not kept:
        raise SAEError("every layer of the adapter is switched off", cure="use an adapter with features")
    return {
        layer: AdapterFeatures(
            "standard",
            one.W_enc.T.contiguous(),
            one.b_enc,
            one.W_dec.T.contiguous(),
            one.W_dec.new_zeros(len(one.W_dec)) if one.b_dec is None else one.b_dec,
            base_path=base_path,
        )
        for layer, one in kept.items()
    }
