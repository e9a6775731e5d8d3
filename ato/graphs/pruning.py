"""Influence of nodes and edges on the outputs of a graph, pruning by it, and the two scores of a graph.

As in circuit-tracer: A is the absolute adjacency with each target's incoming edges scaled to sum to 1, w the weights of
the outputs, and influence = w A + w A^2 + ... over all paths. Everything is sparse: memory is that of the edges.
Absolute values mean that two edges that cancel each other still count as influence.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from ato.errors import InputError, SettingsError
from ato.graphs.adjacency import ERRORS, check_graph, subgraph
from ato.graphs.graph import Graph
from ato.numerics.ratios import ratio

_SMALLEST_SUM = 1e-10
"""Incoming edges that sum to less are divided by this."""


@dataclass(frozen=True)
class Scores:
    """How much of a graph's influence comes from what is explained; NaN where no influence reaches any leaf."""

    replacement: float
    """Influence of the inputs over that of inputs and error nodes. Inputs: tokens, and features that nothing acts on."""
    completeness: float
    """Share of the incoming edges that does not come from error nodes, averaged over nodes by their influence."""


@dataclass(frozen=True)
class Pruned:
    """A pruned graph and what was kept of the whole one."""

    graph: Graph
    """``influence`` of a node is the cumulative share of influence at its rank in the whole graph: small is important."""
    nodes: np.ndarray
    """[n] bool, of the whole graph."""
    edges: np.ndarray
    """[m] bool, of the whole graph."""
    scores: Scores
    """Of the whole graph."""


def output_weights(graph: Graph) -> np.ndarray:
    """[n] float64, w: probabilities of logit nodes; without logits, the activations of the last
    layer's target features, scaled to sum to 1.

    Raises:
        InputError: logits whose ``activation`` is no probability, or a graph without outputs.
    """
    logits = graph.kind == "logit"
    weights = np.where(logits, graph.activation, 0.0)
    if logits.any():
        if not np.all((weights >= 0) & (weights <= 1)):
            raise InputError("logit nodes without probabilities", cure="give the weights of the outputs")
        return weights
    targets = (graph.kind == "feature") & ~np.isnan(graph.total)
    last = targets & (graph.layer == graph.layer[targets].max(initial=-1))
    weights = np.where(last, graph.activation, 0.0)
    if not weights.sum() > 0:
        raise InputError("the graph has no outputs", cure="give a graph with logits or with target features")
    return weights / weights.sum()


def influence(graph: Graph, weights: np.ndarray | None = None) -> np.ndarray:
    """[n] float64: influence of each node on the outputs over all paths, the empty one excluded.

    Args:
        graph: the graph.
        weights: [n] of the outputs; None for ``output_weights``.

    Raises:
        InputError: a cycle.
    """
    return _paths(graph, _input_shares(graph), _weights(graph, weights))


def edge_influence(graph: Graph, weights: np.ndarray | None = None) -> np.ndarray:
    """[m] float64: influence that passes through each edge: its share of its target's input, times the target's influence.

    Args:
        graph: the graph.
        weights: [n] of the outputs; None for ``output_weights``.

    Raises:
        InputError: as ``influence``.
    """
    w, shares = _weights(graph, weights), _input_shares(graph)
    return shares * (_paths(graph, shares, w) + w)[graph.target]


def graph_scores(graph: Graph, weights: np.ndarray | None = None) -> Scores:
    """Replacement and completeness of a graph, which should be whole: pruning cuts errors away, too."""
    shares, w = _input_shares(graph), _weights(graph, weights)
    return _scores(graph, shares, _paths(graph, shares, w), w)


def prune(
    graph: Graph, node_threshold: float = 0.8, edge_threshold: float = 0.98, weights: np.ndarray | None = None
) -> Pruned:
    """Keep the nodes, then the edges, that together have a share of the influence.

    Tokens, logits and outputs stay. Features and errors that no kept edge leaves go, as do features that lost all of
    their incoming edges; those that had none before (of the first layer of a transport graph) stay.

    Args:
        graph: the whole graph.
        node_threshold: share of nodes' influence to keep, in (0, 1].
        edge_threshold: share of edges' scores to keep, in (0, 1].
        weights: [n] of the outputs; None for ``output_weights``.

    Raises:
        SettingsError: a threshold out of range.
        InputError: as ``influence``.
    """
    for name, share in (("node_threshold", node_threshold), ("edge_threshold", edge_threshold)):
        if not 0 < share <= 1:
            raise SettingsError(f"{name} is {share}", cure="choose a share above 0 and at most 1")
    w = _weights(graph, weights)
    shares = _input_shares(graph)
    reached = _paths(graph, shares, w)
    always = np.isin(graph.kind, ("token", "logit")) | (w > 0)
    nodes = always | (reached >= _threshold(reached, node_threshold))

    both = nodes[graph.source] & nodes[graph.target]
    score = edge_influence(replace(graph, weight=np.where(both, graph.weight, 0.0)), w)
    edges = both & (score > 0) & (score >= _threshold(score, edge_threshold))
    nodes, edges = _without_loose_ends(graph, nodes, edges, always)
    ranked = replace(graph, influence=cumulative_influence(reached))
    return Pruned(subgraph(ranked, nodes, edges), nodes, edges, _scores(graph, shares, reached, w))


def cumulative_influence(reached: np.ndarray) -> np.ndarray:
    """[n]: share of all influence that a node and those above it have together; of equals, the first comes first."""
    order = np.argsort(-reached, kind="stable")
    share = np.empty(len(reached))
    share[order] = np.cumsum(reached[order])
    total = reached.sum()
    return np.minimum(share / total, 1.0) if total > 0 else np.ones(len(reached))


def _weights(graph: Graph, weights: np.ndarray | None) -> np.ndarray:
    if weights is None:
        return output_weights(graph)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != graph.kind.shape or not np.all(given >= 0):
        raise InputError("weights of outputs must be one number a node, none of them negative", where="weights")
    return given


def _input_shares(graph: Graph) -> np.ndarray:
    """[m]: |weight| of each edge over the sum of |weight| of all edges into its target."""
    check_graph(graph)
    size = np.abs(graph.weight)
    into = np.bincount(graph.target, size, minlength=len(graph.kind))
    return size / np.maximum(into, _SMALLEST_SUM)[graph.target]


def _paths(graph: Graph, shares: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """w A + w A^2 + ..., which ends at the length of the longest path."""
    n = len(weights)
    back = sparse.csr_array((shares, (graph.source, graph.target)), shape=(n, n))
    flow, summed = weights, np.zeros(n)
    for _ in range(n + 1):
        flow = back @ flow
        if not flow.any():
            return summed
        summed = summed + flow
    raise InputError("the graph has a cycle", cure="let edges lead from earlier nodes to later ones only")


def _threshold(scores: np.ndarray, share: float) -> float:
    """The largest value such that scores at or above it have the share of the sum."""
    ordered = np.sort(scores)[::-1]
    cumulative = np.cumsum(ordered)
    if not len(ordered) or cumulative[-1] <= 0:
        return 0.0
    at = int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)))
    return float(ordered[min(at, len(ordered) - 1)])


def _without_loose_ends(
    graph: Graph, nodes: np.ndarray, edges: np.ndarray, always: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = len(nodes)
    had_sources = np.bincount(graph.target, minlength=n) > 0
    while True:
        leaves_to = np.bincount(graph.source[edges], minlength=n) > 0
        fed_by = np.bincount(graph.target[edges], minlength=n) > 0
        loose = ~leaves_to | ((graph.kind == "feature") & had_sources & ~fed_by)
        kept = nodes & (always | ~loose)
        if np.array_equal(kept, nodes):
            return nodes, edges
        nodes, edges = kept, edges & kept[graph.source] & kept[graph.target]


def _scores(graph: Graph, shares: np.ndarray, reached: np.ndarray, weights: np.ndarray) -> Scores:
    n, errors = len(weights), np.isin(graph.kind, ERRORS)
    leaf = np.bincount(graph.target, minlength=n) == 0
    inputs = (graph.kind == "token") | ((graph.kind == "feature") & leaf)
    explained, missed = reached[inputs].sum(), reached[errors].sum()
    not_error = 1 - np.bincount(graph.target, shares * errors[graph.source], minlength=n)
    standing = reached + weights
    replacement, completeness = ratio([explained, not_error @ standing], [explained + missed, standing.sum()])
    return Scores(float(replacement), float(completeness))
