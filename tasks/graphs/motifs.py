"""Edges that recur over the prompts of a run, counted from the graphs in the warehouse."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ato.graphs.comparison import EdgeComparison
from ato.graphs.graph import Graph
from ato.graphs.motifs import MotifCounter
from ato.numerics.intervals import number_or_none
from tasks.engine.stage import Stage
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

LEAST = 2
"""Prompts that an edge must be in."""
_NODES = """select node_kind, layer, position, feature_id from graph_nodes
where collection = ? and graph = ? and kind = ? order by node"""
_EDGES = """select source, target, weight, same_position, transport_weight, transport_share from graph_edges
where collection = ? and graph = ? and kind = ? order by source, target"""
_KINDS = "select distinct kind from graphs where collection = ? and list_contains(?, graph) order by kind"


def write_motifs(graphs: Sequence[str], stage: Stage) -> int:
    """Write ``graph_motifs`` of the graphs with these keys; returns how many recur."""
    found: list[dict[str, Any]] = []
    kinds = [row["kind"] for row in rows(stage.warehouse, _KINDS, [stage.collection, list(graphs)])]
    for kind in kinds:
        counter = MotifCounter()
        for graph in graphs:
            counter.update(graph, *kept_graph(stage.warehouse, stage.collection, graph, kind))
        motifs = counter.result(LEAST)
        own = {"collection": stage.collection, "motifs": stage.key, "kind": kind, "n_prompts_all": len(graphs)}
        columns = {
            "source_layer": motifs.source_layer,
            "source_feature": motifs.source_feature,
            "target_layer": motifs.target_layer,
            "target_feature": motifs.target_feature,
            "same_position": motifs.same_position,
            "n_prompts": motifs.n_graphs,
            "n_edges": motifs.n_edges,
            "mean_weight": motifs.weight,
            "positive_share": motifs.positive_share,
        }
        listed = zip(*(column.tolist() for column in columns.values()), strict=True)
        shares = map(number_or_none, motifs.transport_share.tolist())
        found += [
            own | dict(zip(columns, values, strict=True)) | {"transport_share": share}
            for values, share in zip(listed, shares, strict=True)
        ]
    stage.write("graph_motifs", found)
    return len(found)


def kept_graph(warehouse: Warehouse, collection: str, graph: str, kind: str) -> tuple[Graph, EdgeComparison]:
    """Nodes and edges of a graph as its tables have them, and the edges that were compared with transport."""
    key = [collection, graph, kind]
    nodes, edges = rows(warehouse, _NODES, key), rows(warehouse, _EDGES, key)
    missing = np.full(len(nodes), np.nan)
    known = Graph(
        (),
        np.array([row["node_kind"] for row in nodes]),
        _whole_numbers(nodes, "layer"),
        _whole_numbers(nodes, "position"),
        _whole_numbers(nodes, "feature_id"),
        missing,
        missing,
        _whole_numbers(edges, "source"),
        _whole_numbers(edges, "target"),
        np.array([row["weight"] for row in edges], np.float64),
        missing,
    )
    compared = [number for number, row in enumerate(edges) if row["transport_weight"] is not None]
    columns = {
        name: np.array([np.nan if edges[i][name] is None else edges[i][name] for i in compared], np.float64)
        for name in ("weight", "transport_weight", "same_position", "transport_share")
    }
    is_feature = known.kind == "feature"
    comparison = EdgeComparison(
        np.array(compared, np.int64),
        columns["weight"],
        columns["transport_weight"],
        columns["same_position"].astype(bool),
        columns["transport_share"],
        int((is_feature[known.source] & is_feature[known.target]).sum()),
    )
    return known, comparison


def _whole_numbers(found: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """[n] a column, -1 for NULL."""
    return np.array([-1 if row[name] is None else row[name] for row in found], np.int64)
