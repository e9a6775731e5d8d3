"""One row about a graph: how large it is, what its influence comes from, whether its books balance."""

from dataclasses import dataclass

import numpy as np

from ato.graphs.adjacency import KINDS
from ato.graphs.checks import conservation_residual
from ato.graphs.comparison import EdgeComparison
from ato.graphs.graph import Graph
from ato.graphs.pruning import Scores, graph_scores


@dataclass(frozen=True)
class GraphSummary:
    """Numbers of one graph; NaN where there is nothing to measure."""

    n_tokens: int
    """Of the prompt."""
    nodes: dict[str, int]
    """Kind -> nodes, of every kind."""
    edges: dict[tuple[str, str], int]
    """Kinds of source and target -> edges, of those pairs that there are."""
    absolute_weight: dict[tuple[str, str], float]
    """Kinds of source and target -> sum of |weight|, of those pairs that there are."""
    scores: Scores
    residual: float
    """Largest conservation residual of any target."""
    transport_share: float
    """Share of the compared effect between features that is transport; NaN without a comparison."""

    @property
    def n_nodes(self) -> int:
        """Nodes of all kinds."""
        return sum(self.nodes.values())

    @property
    def n_edges(self) -> int:
        """Edges of all kinds."""
        return sum(self.edges.values())

    @property
    def error_share(self) -> float:
        """Share of all |weight| that comes from error nodes, of SAEs or of operators; NaN without edges."""
        whole = sum(self.absolute_weight.values())
        errors = sum(w for (source, _), w in self.absolute_weight.items() if source in ("error", "transport_error"))
        return errors / whole if whole > 0 else float("nan")


def summarise(graph: Graph, weights: np.ndarray | None = None, edges: EdgeComparison | None = None) -> GraphSummary:
    """The summary of a graph, which should be whole: of a pruned one, residual and scores say what was cut away.

    Args:
        graph: the graph.
        weights: [n] of the outputs; None for ``output_weights``.
        edges: its comparison with the transport graph of the same prompt.

    Raises:
        InputError: as ``ato.graphs.pruning.influence``.
    """
    residual = conservation_residual(graph)
    nodes = {kind: int((graph.kind == kind).sum()) for kind in KINDS}
    n_edges, size = edge_kinds(graph)
    return GraphSummary(
        len(graph.token_ids),
        nodes,
        n_edges,
        size,
        graph_scores(graph, weights),
        float(np.nanmax(residual)) if (~np.isnan(residual)).any() else float("nan"),
        float("nan") if edges is None else edges.total_share,
    )


def edge_kinds(graph: Graph) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], float]]:
    """Edges and the sum of their |weight| by kinds of source and target."""
    n = len(KINDS)
    code = np.array([KINDS.index(kind) for kind in graph.kind.tolist()], dtype=np.int64)
    pair = code[graph.source] * n + code[graph.target]
    count = np.bincount(pair, minlength=n * n)
    size = np.bincount(pair, np.abs(graph.weight), minlength=n * n)
    names = {int(i): (KINDS[i // n], KINDS[i % n]) for i in np.flatnonzero(count)}
    return {name: int(count[i]) for i, name in names.items()}, {name: float(size[i]) for i, name in names.items()}
