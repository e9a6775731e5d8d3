"""A graph's edges as a sparse matrix, and its parts."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from ato.errors import InputError
from ato.graphs.graph import Graph

KINDS = ("token", "constant", "feature", "error", "transport_error", "logit")
"""Kinds of nodes, in the order in which one may act on another."""
ERRORS = ("error", "transport_error")
"""Kinds that stand for what the features, or the operators, do not explain."""
_BY_NODE = ("layer", "position", "feature", "activation", "influence", "total")


def adjacency(graph: Graph) -> sparse.csr_array:
    """Weights [n, n] float64, rows are targets and columns sources; edges given twice are summed.

    Raises:
        InputError: arrays of different lengths, an edge to no node, or an unknown kind.
    """
    check_graph(graph)
    n = len(graph.kind)
    return sparse.csr_array((graph.weight.astype(np.float64), (graph.target, graph.source)), shape=(n, n))


def check_graph(graph: Graph) -> None:
    """Raise InputError unless arrays have one entry a node or an edge, and edges join nodes that there are."""
    n, m = len(graph.kind), len(graph.weight)
    wrong = [name for name in _BY_NODE if getattr(graph, name).shape != (n,)]
    wrong += [name for name in ("source", "target", "weight") if getattr(graph, name).shape != (m,)]
    if wrong:
        raise InputError(
            f"a graph of {n} nodes and {m} edges has arrays of other lengths",
            where=", ".join(wrong),
            cure="give one entry a node and one an edge",
        )
    if unknown := set(graph.kind.tolist()) - set(KINDS):
        raise InputError(f"unknown kind of node {min(unknown)!r}", cure=f"use {', '.join(KINDS)}")
    ends = np.concatenate([graph.source, graph.target])
    if m and not (ends.min() >= 0 and ends.max() < n):
        raise InputError(f"an edge joins a node that is not one of the {n} of its graph", cure="count nodes from 0")


def subgraph(graph: Graph, nodes: np.ndarray, edges: np.ndarray | None = None) -> Graph:
    """The graph of some nodes and of the edges between them, in the same order.

    Args:
        graph: the graph.
        nodes: [n] bool, nodes that stay.
        edges: [m] bool, edges that stay if both their ends do; None for all.
    """
    kept = nodes[graph.source] & nodes[graph.target]
    if edges is not None:
        kept &= edges
    index = np.cumsum(nodes) - 1
    by_node = {name: getattr(graph, name)[nodes] for name in ("kind", *_BY_NODE)}
    return replace(
        graph,
        **by_node,
        source=index[graph.source[kept]],
        target=index[graph.target[kept]],
        weight=graph.weight[kept],
    )
