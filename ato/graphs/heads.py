"""Through which attention heads an edge goes: the part of its weight that passes each head."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import InputError
from ato.graphs.attribution import Attribution
from ato.graphs.faithfulness import target_direction


@dataclass(frozen=True)
class HeadContributions:
    """Parts of one edge that pass heads; paths through heads of several layers count in each of these."""

    layers: np.ndarray
    """[l] blocks between source and target."""
    contribution: np.ndarray
    """[l, heads] part of the weight; what is missing to the weight in a layer goes around its attention."""
    by_position: np.ndarray
    """[l, heads, t] the same by the position at which the head writes."""


def head_contributions(made: Attribution, edge: int) -> HeadContributions:
    """Parts of an edge that pass each attention head, in the frozen model.

    What the source makes of a head's output, times the derivative of the target along that output: exact, since both
    are linear there.

    Args:
        made: the graph with what it was made of.
        edge: index of an edge from a feature.

    Raises:
        InputError: the edge's source is no feature.
        ModelError: heads whose outputs are not read (``attn_z``).
    """
    graph, local = made.graph, made.sources.local
    if graph.kind[graph.source[edge]] != "feature":
        what = f"edge {edge} comes from a node of kind {graph.kind[graph.source[edge]]}"
        raise InputError(what, cure="choose an edge from a feature")
    model, row = local.model, made.selected[graph.source[edge]]
    model.check_site("attn_z", range(model.n_layers))
    reading, position, vector = target_direction(made, int(graph.target[edge]))
    first = local.layers[made.sources.cut[row]] + 1
    last = local.layers[reading] if reading < len(local.layers) else model.n_layers - 1
    layers = np.arange(first, last + 1)
    cut, at = int(made.sources.cut[row]), int(made.sources.position[row])
    leaves = [leaf.clone() for leaf in local.values.leaves]
    leaves[cut] = leaves[cut].requires_grad_()
    at_prompt: dict[int, torch.Tensor] = {}
    output = local.run(local.values.stream, leaves, gradients=True, heads=at_prompt)[reading][0, position]
    reached = [at_prompt[layer] for layer in layers]
    gradients = torch.autograd.grad(output @ vector, reached, allow_unused=True) if reached else ()
    with torch.no_grad():
        leaves[cut] = leaves[cut].detach().clone()
        leaves[cut][0, at] -= made.sources.written(int(row))
        without: dict[int, torch.Tensor] = {}
        local.run(local.values.stream, leaves, heads=without)
    parts = []
    for layer, gradient in zip(layers, gradients, strict=True):
        n_heads, value = local.frozen.pattern(layer).shape[1], at_prompt[layer].detach() - without[layer]
        product = torch.zeros_like(value) if gradient is None else gradient * value
        parts.append(product[0].unflatten(-1, (n_heads, -1)).sum(-1).T.cpu().numpy())
    by_position = np.stack(parts) if parts else np.zeros((0, 0, local.n_tokens))
    return HeadContributions(layers, by_position.sum(2), by_position)
