"""Through which attention heads an edge goes: exact parts of its weight.

In the frozen model everything between the source and the target of an edge is linear, so its weight is a sum over paths.
Each path is counted with the last head that it passes; those that pass none are the direct path. So the parts of all
heads of all blocks between, and the direct path, sum to the weight.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.errors import InputError
from ato.graphs.attribution import Attribution
from ato.graphs.faithfulness import target_direction
from ato.graphs.frozen import Attended
from ato.graphs.local_model import LocalModel


@dataclass(frozen=True)
class HeadContributions:
    """Parts of one edge that pass heads."""

    edge: int
    layers: np.ndarray
    """[l] blocks between source and target."""
    by_key: np.ndarray
    """[l, heads, t] part of the weight on paths whose last head this is, by the position that it is read at."""
    through: np.ndarray
    """[l, heads] part of the weight on all paths through a head; those through several count for each."""
    direct: float
    """Part of the weight on paths that pass no head."""


def head_contributions(made: Attribution, edges: Sequence[int]) -> Iterator[HeadContributions]:
    """Parts of each edge that pass each attention head between its ends, in the frozen model.

    Args:
        made: the graph with what it was made of.
        edges: indices of edges from features.

    Raises:
        InputError: an edge's source is no feature.
    """
    graph, local = made.graph, made.sources.local
    for edge in edges:
        if (kind := graph.kind[graph.source[edge]]) != "feature":
            raise InputError(f"edge {edge} comes from a node of kind {kind}", cure="choose edges from features")
    passes = _Recorded(local, open_=True), _Recorded(local, open_=False)
    for edge in edges:
        row = int(made.selected[graph.source[edge]])
        reading, position, vector = target_direction(made, int(graph.target[edge]))
        first = local.layers[made.sources.cut[row]] + 1
        last = local.layers[reading] if reading < len(local.layers) else local.model.n_layers - 1
        layers = range(first, last + 1)
        values = _values_written(made, row)
        (_, whole), (straight, at_last) = (one.gradients(reading, position, vector, layers) for one in passes)
        written, cut, at = made.sources.written(row), int(made.sources.cut[row]), int(made.sources.position[row])
        by_key, through = [], []
        for layer in layers:
            pattern = local.frozen.pattern(layer)[0]
            value = values[layer].repeat_interleave(len(pattern) // len(values[layer]), dim=0)
            gradient = at_last[layer][position]
            by_key.append(pattern[:, position] * torch.einsum("hd,hsd->hs", gradient, value))
            through.append((whole[layer] * torch.einsum("hps,hsd->phd", pattern, value)).sum((0, 2)))
        shape = local.frozen.pattern(0).shape[1:3]
        parts = _stacked(by_key, *shape), _stacked(through, shape[0])
        yield HeadContributions(edge, np.array(layers, np.int64), *parts, float(straight[cut][at] @ written))


class _Recorded:
    """A pass of the frozen model, recorded for gradients along the outputs of heads.

    Args:
        local: the model.
        open_: whether gradients pass through attention; otherwise along what is added beside it alone.
    """

    def __init__(self, local: LocalModel, open_: bool):
        self._outputs: dict[int, Tensor] = {}
        self._leaves = [leaf.clone().requires_grad_() for leaf in local.values.leaves]

        def watch(found: Attended) -> Tensor:
            output = found.output if open_ else found.output.detach().requires_grad_()
            self._outputs[found.layer] = output
            return output

        with local.frozen.watched(watch):
            self._readings = local.run(local.values.stream, self._leaves, gradients=True)

    def gradients(
        self, reading: int, position: int, vector: Tensor, layers: range
    ) -> tuple[list[Tensor], dict[int, Tensor]]:
        """Of ``vector . reading[position]``: by each leaf [t, d], and by the heads' outputs [t, heads, d_head] of blocks."""
        along = [*self._leaves, *(self._outputs[layer] for layer in layers)]
        value = self._readings[reading][0, position] @ vector
        found = torch.autograd.grad(value, along, retain_graph=True, allow_unused=True)
        whole = [torch.zeros_like(to) if one is None else one for one, to in zip(found, along, strict=True)]
        n = len(self._leaves)
        return [one[0] for one in whole[:n]], {layer: one[0] for layer, one in zip(layers, whole[n:], strict=True)}


@torch.no_grad()
def _values_written(made: Attribution, row: int) -> dict[int, Tensor]:
    """Layer -> [heads of keys, t, d_head] what an active feature makes of the values that heads read.

    From a pass of the feature alone, so that nothing larger has to cancel.
    """
    local, found = made.sources.local, dict[int, Tensor]()
    leaves = [leaf.new_zeros(2, *leaf.shape[1:]) for leaf in local.values.leaves]
    leaves[made.sources.cut[row]][0, made.sources.position[row]] = made.sources.written(row)

    def watch(attended: Attended) -> Tensor:
        found[attended.layer] = attended.value[0] - attended.value[1]
        return attended.output

    with local.frozen.watched(watch):
        local.run(torch.zeros_like(local.values.stream).expand(2, -1, -1), leaves)
    return found


def _stacked(parts: list[Tensor], *shape: int) -> np.ndarray:
    """[l, *shape] float64."""
    return np.stack([part.double().cpu().numpy() for part in parts]) if parts else np.zeros((0, *shape))
