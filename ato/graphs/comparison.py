"""Which share of a true local effect is plain linear transport: edges of a transport graph beside those of attribution.

An attribution edge from feature j to feature t with effect w is compared if an operator leads from j's layer to t's and
both are nodes of the transport graph. With v the weight of the same edge there (0 between different positions, which no
operator joins), its share is ``clip(v / w, 0, 1)``: 0 where the operator says nothing or the opposite, 1 where it says
as much or more. What it says beyond the effect, or against it, is in ``error``.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ato.errors import MismatchError
from ato.graphs.adjacency import adjacency, check_graph
from ato.graphs.graph import Graph
from ato.numerics.ratios import ratio


@dataclass(frozen=True)
class EdgeComparison:
    """Compared edges; every array is [m], ordered as in the attribution graph."""

    edge: np.ndarray
    """Index of the edge in the attribution graph."""
    effect: np.ndarray
    """Weight of attribution."""
    transport: np.ndarray
    """Weight of the same edge in the transport graph; 0 between different positions."""
    same_position: np.ndarray
    """bool."""
    share: np.ndarray
    """Share of the effect that is transport, in 0 ... 1; NaN where the effect is 0."""
    n_features: int
    """Edges between features of the attribution graph, compared or not."""

    @property
    def total_share(self) -> float:
        """Share of the compared absolute effect that is transport; NaN where there is none."""
        return float(ratio(np.nansum(np.abs(self.effect) * self.share), np.abs(self.effect).sum()))


@dataclass(frozen=True)
class FeatureComparison:
    """Target features with a compared edge; every array is [k], ordered by node."""

    node: np.ndarray
    """Index in the attribution graph."""
    n_edges: np.ndarray
    """Compared edges into it."""
    n_same_position: np.ndarray
    """Those of its own position."""
    effect: np.ndarray
    """Sum of the absolute effects of compared edges."""
    share: np.ndarray
    """Share of ``effect`` that is transport; NaN where it is 0."""
    share_same_position: np.ndarray
    """Share of ``effect`` that comes from its own position: the most that ``share`` can be; NaN where it is 0."""
    error: np.ndarray
    """Sum of |transport - effect| over compared edges of its own position, over the sum of their |effect|; NaN where that is 0."""


def compare_edges(attribution: Graph, transport: Graph) -> EdgeComparison:
    """The edges between features that both graphs can have.

    Args:
        attribution: of the same prompt and SAEs, pruned or whole.
        transport: whole: an edge that is missing counts as 0.

    Raises:
        MismatchError: graphs of different prompts.
        InputError: an edge joins nodes that are not there.
    """
    if attribution.token_ids != transport.token_ids:
        raise MismatchError("the two graphs are of different prompts", cure="compare graphs of one prompt")
    check_graph(attribution)
    weights = adjacency(transport)
    source, target = attribution.source, attribution.target
    is_feature = attribution.kind == "feature"
    between = is_feature[source] & is_feature[target]

    node = _matching(attribution, transport)
    both = (node[source] >= 0) & (node[target] >= 0)
    edge = np.flatnonzero(between & both & _joined(attribution, transport))

    effect = attribution.weight[edge].astype(np.float64)
    carried = _entries(weights, node[target[edge]], node[source[edge]])
    same = attribution.position[source[edge]] == attribution.position[target[edge]]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(effect == 0, np.nan, np.clip(carried / effect, 0, 1))
    return EdgeComparison(edge, effect, carried, same, share, int(between.sum()))


def compare_features(attribution: Graph, edges: EdgeComparison) -> FeatureComparison:
    """The compared edges summed by target.

    Args:
        attribution: the graph.
        edges: of ``compare_edges`` on it.
    """
    node, index = np.unique(attribution.target[edges.edge], return_inverse=True)
    size, same = np.abs(edges.effect), edges.same_position

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, values, minlength=len(node))

    effect, own = summed(size), summed(size * same)
    missed = summed(np.abs(edges.transport - edges.effect) * same)
    with np.errstate(divide="ignore", invalid="ignore"):
        return FeatureComparison(
            node,
            np.bincount(index, minlength=len(node)),
            summed(same).astype(np.int64),
            effect,
            summed(size * np.nan_to_num(edges.share)) / effect,
            own / effect,
            missed / own,
        )


def _matching(graph: Graph, other: Graph) -> np.ndarray:
    """[n]: the node of the other graph that is the same feature at the same place; -1 for none."""
    features = np.flatnonzero(graph.kind == "feature"), np.flatnonzero(other.kind == "feature")
    places = [
        np.stack([g.layer[i], g.position[i], g.feature[i]], 1) for g, i in zip((graph, other), features, strict=True)
    ]
    _, place = np.unique(np.concatenate(places), axis=0, return_inverse=True)
    place = place.ravel()
    n_own = len(features[0])
    node_at = np.full(place.max(initial=-1) + 1, -1)
    node_at[place[n_own:]] = features[1]
    matched = np.full(len(graph.kind), -1)
    matched[features[0]] = node_at[place[:n_own]]
    return matched


def _joined(graph: Graph, transport: Graph) -> np.ndarray:
    """[m] bool: whether an operator joins the layers of an edge's ends.

    An operator is known by the edges from the features and the SAE errors of the layer that it reads.
    """
    carried = np.isin(transport.kind[transport.source], ("feature", "error"))
    n_layers = max(graph.layer.max(initial=0), transport.layer.max(initial=0)) + 1

    def pairs(g: Graph) -> np.ndarray:
        return g.layer[g.source].astype(np.int64) * n_layers + g.layer[g.target]

    return np.isin(pairs(graph), pairs(transport)[carried])


def _entries(matrix: sparse.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[m]: entries of a sparse matrix, 0 where there is none."""
    stored = matrix.tocoo()
    key = stored.row.astype(np.int64) * matrix.shape[1] + stored.col
    if not len(key):
        return np.zeros(len(rows))
    order = np.argsort(key, kind="stable")
    key, values = key[order], stored.data[order]
    asked = rows * matrix.shape[1] + columns
    at = np.minimum(np.searchsorted(key, asked), len(key) - 1)
    return np.where(key[at] == asked, values[at], 0.0)
