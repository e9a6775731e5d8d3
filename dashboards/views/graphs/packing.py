"""A graph as the viewer reads it: columns of nodes and edges, the edges in the order of their influence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ato.errors import InputError
from ato.graphs.graph import Graph
from ato.graphs.pruning import cumulative_influence, edge_influence
from ato.text.display import visible

NODE_COLUMNS = (
    "node_id",
    "kind",
    "layer",
    "position",
    "token",
    "feature_id",
    "token_id",
    "label",
    "activation",
    "influence",
    "total",
    "transport_share",
)
"""Columns of a node that the viewer shows."""
DIGITS = 6
"""Significant digits of a number that is sent."""


def packed(nodes: pl.DataFrame, tokens: Sequence[str]) -> dict[str, Any]:
    """Nodes, edges and tokens of a graph as lists; None where something was not measured.

    Args:
        nodes: a row a node, by number: ``NODE_COLUMNS``, and lists of its incoming edges: ``sources``, ``weights``,
            ``transport_weights``, ``transport_shares``.
        tokens: texts of the prompt's tokens.

    Returns:
        ``tokens``; ``nodes``, a list for each of ``NODE_COLUMNS``; ``edges`` with ``source``, ``target`` (numbers of
        nodes), ``weight``, ``transport``, ``share`` and ``influence``, the share of all influence that an edge and
        those before it have together, ascending.
    """
    columns = {name: _sent(nodes[name].to_list()) for name in NODE_COLUMNS}
    edges = _edges(nodes)
    influence = _influence(nodes, edges)
    order = np.argsort(influence, kind="stable").tolist()
    sent = {name: [values[i] for i in order] for name, values in (edges | {"influence": influence.tolist()}).items()}
    return {
        "tokens": _sent(tokens),
        "nodes": columns,
        "edges": {name: _sent(values) for name, values in sent.items()},
    }


def _edges(nodes: pl.DataFrame) -> dict[str, list[Any]]:
    columns = {"source": "sources", "weight": "weights", "transport": "transport_weights", "share": "transport_shares"}
    lists = {name: nodes[column].to_list() for name, column in columns.items()}
    targets = zip(nodes["node"].to_list(), lists["source"], strict=True)
    flat = {name: [value for part in values for value in part or ()] for name, values in lists.items()}
    return flat | {"target": [node for node, sources in targets for _ in sources or ()]}


def _influence(nodes: pl.DataFrame, edges: Mapping[str, list[Any]]) -> np.ndarray:
    """[m]: cumulative share of influence by rank; of absolute weight where no output says what influence is."""
    n, weight = nodes.height, np.array(edges["weight"], dtype=np.float64)
    graph = Graph(
        token_ids=(),
        kind=nodes["kind"].to_numpy().astype(str),
        layer=nodes["layer"].to_numpy(),
        position=nodes["position"].to_numpy(),
        feature=nodes["feature_id"].fill_null(-1).to_numpy(),
        activation=_numbers(nodes["activation"]),
        influence=np.full(n, np.nan),
        source=np.array(edges["source"], dtype=np.int64),
        target=np.array(edges["target"], dtype=np.int64),
        weight=weight,
        total=_numbers(nodes["total"]),
    )
    try:
        return cumulative_influence(edge_influence(graph))
    except InputError:
        return cumulative_influence(np.abs(weight))


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _sent(values: Sequence[Any]) -> list[Any]:
    """Numbers without digits that nobody sees, texts without characters that mislead."""
    return [
        float(f"{value:.{DIGITS}g}")
        if isinstance(value, float)
        else visible(value, keep="\n")
        if isinstance(value, str)
        else value
        for value in values
    ]
