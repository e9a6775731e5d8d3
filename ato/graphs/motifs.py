"""Motifs: edges between the same two features that recur over prompts, and whether they are transport."""

from dataclasses import dataclass

import numpy as np

from ato.errors import InputError
from ato.graphs.comparison import EdgeComparison
from ato.graphs.graph import Graph


@dataclass(frozen=True)
class Motifs:
    """Recurring edges; every array is [k], those in most prompts first, then by layers and features."""

    source_layer: np.ndarray
    source_feature: np.ndarray
    target_layer: np.ndarray
    target_feature: np.ndarray
    same_position: np.ndarray
    """bool: from the target's own position, or from an earlier one, wherever that is."""
    n_graphs: np.ndarray
    """Prompts that have it."""
    n_edges: np.ndarray
    """Edges, of which a prompt may have several."""
    weight: np.ndarray
    """Mean weight."""
    positive_share: np.ndarray
    """Share of the edges with a positive weight."""
    transport_share: np.ndarray
    """Share of the compared absolute effect that is transport; NaN where none was compared."""

    def __len__(self) -> int:
        return len(self.weight)


class MotifCounter:
    """Accumulates the edges between features of graphs, one graph after the other; their order changes nothing but
    rounding.

    Memory is that of the different edges, not of all.
    """

    def __init__(self) -> None:
        self._graphs: set[str] = set()
        self._keys = np.empty((0, 5), np.int64)
        self._sums = np.empty((0, 6))

    def update(self, name: str, graph: Graph, edges: EdgeComparison | None = None) -> "MotifCounter":
        """Count a graph.

        Args:
            name: of its prompt.
            graph: pruned, as a rule.
            edges: its comparison with the transport graph.

        Raises:
            InputError: a prompt that was counted.
        """
        if name in self._graphs:
            raise InputError(f"the graph of {name!r} was counted before", cure="count each prompt once")
        self._graphs.add(name)
        effect, carried = np.zeros(len(graph.weight)), np.zeros(len(graph.weight))
        if edges is not None:
            effect[edges.edge] = np.abs(edges.effect)
            carried[edges.edge] = np.abs(edges.effect) * np.nan_to_num(edges.share)
        is_feature = graph.kind == "feature"
        between = is_feature[graph.source] & is_feature[graph.target]
        source, target, weight = graph.source[between], graph.target[between], graph.weight[between]
        same = graph.position[source] == graph.position[target]
        ends = graph.layer[source], graph.feature[source], graph.layer[target], graph.feature[target]
        one = np.ones(len(weight))
        keys, sums = _summed(
            np.stack([*ends, same], axis=1).astype(np.int64),
            np.stack([0 * one, one, weight, weight > 0, effect[between], carried[between]], axis=1),
        )
        sums[:, 0] = 1
        self._keys, self._sums = _summed(np.concatenate([self._keys, keys]), np.concatenate([self._sums, sums]))
        return self

    def result(self, min_graphs: int = 2) -> Motifs:
        """The edges that at least so many graphs have."""
        kept = self._sums[:, 0] >= min_graphs
        keys, sums = self._keys[kept], self._sums[kept]
        order = np.lexsort([*keys.T[::-1], -sums[:, 0]])
        keys, sums = keys[order], sums[order]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = sums[:, 5] / sums[:, 4]
        ends = keys.T
        return Motifs(
            ends[0],
            ends[1],
            ends[2],
            ends[3],
            ends[4].astype(bool),
            sums[:, 0].astype(np.int64),
            sums[:, 1].astype(np.int64),
            sums[:, 2] / sums[:, 1],
            sums[:, 3] / sums[:, 1],
            share,
        )


def _summed(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different rows of keys, in order, and the sums of their values."""
    different, index = np.unique(keys, axis=0, return_inverse=True)
    sums = np.zeros((len(different), values.shape[1]))
    np.add.at(sums, index.ravel(), values)
    return different, sums
