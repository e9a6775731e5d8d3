"""Edges that recur over the prompts of a run, counted from the graphs in the warehouse."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ato.graphs.comparison import EdgeComparison
from ato.graphs.graph import Graph
from ato.graphs.motifs import MotifCounter, Motifs
from ato.numerics.intervals import number_or_none
from tasks.engine.stage import Stage
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

LEAST = 2
"""Prompts that an edge must be in."""
_NODES = """select kind, layer, position, feature_id, sae from graph_nodes
where collection = ? and graph_set = ? and graph_kind = ? order by node"""
_EDGES = """select source, target, weight, transport_weight, transport_share from graph_edges
where collection = ? and graph_set = ? and graph_kind = ? order by source, target"""
_KINDS = """select distinct graph_kind, layers, saes from graphs
where collection = ? and list_contains(?, graph_set) order by graph_kind"""


def write_motifs(graphs: Sequence[str], stage: Stage) -> int:
    """Write ``graph_motifs`` of the graphs with these keys, all of the same SAEs; returns how many recur."""
    found: list[dict[str, Any]] = []
    for row in rows(stage.warehouse, _KINDS, [stage.collection, list(graphs)]):
        kind, sae = row["graph_kind"], dict(zip(row["layers"], row["saes"], strict=True))
        counter = MotifCounter()
        for graph in graphs:
            counter.update(graph, *kept_graph(stage.warehouse, stage.collection, graph, kind))
        own = {"collection": stage.collection, "graph_set": stage.key, "graph_kind": kind, "n_prompts": len(graphs)}
        found += [own | motif for motif in _rows(counter.result(LEAST), sae)]
    stage.write("graph_motifs", found)
    return len(found)


def _rows(motifs: Motifs, sae: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    of_edge = ("source_layer", "source_feature", "target_layer", "target_feature", "same_position")
    names = (*of_edge, "n_graphs", "n_edges", "weight", "positive_share")
    columns = (getattr(motifs, name).tolist() for name in names)
    shares = map(number_or_none, motifs.transport_share.tolist())
    for values, share in zip(zip(*columns, strict=True), shares, strict=True):
        row = dict(zip(names, values, strict=True))
        source, target = row["source_layer"], row["target_layer"]
        ends = {"source_sae": sae[source], "target_sae": sae[target], "leap": target - source}
        yield row | ends | {"transport_share": share}


def kept_graph(warehouse: Warehouse, collection: str, graph: str, kind: str) -> tuple[Graph, EdgeComparison]:
    """Nodes and edges of a graph as its tables have them, and the edges that were compared with transport."""
    key = [collection, graph, kind]
    nodes, edges = rows(warehouse, _NODES, key), rows(warehouse, _EDGES, key)
    missing = np.full(len(nodes), np.nan)
    known = Graph(
        (),
        np.array([row["kind"] for row in nodes]),
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
    edge = np.array([i for i, row in enumerate(edges) if row["transport_weight"] is not None], np.int64)
    columns = {
        name: np.array([np.nan if edges[i][name] is None else edges[i][name] for i in edge], np.float64)
        for name in ("weight", "transport_weight", "transport_share")
    }
    is_feature = known.kind == "feature"
    source, target = known.source[edge], known.target[edge]
    comparison = EdgeComparison(
        edge,
        columns["weight"],
        columns["transport_weight"],
        known.position[source] == known.position[target],
        columns["transport_share"],
        int((is_feature[known.source] & is_feature[known.target]).sum()),
    )
    return known, comparison


def _whole_numbers(found: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """[n] a column, -1 for NULL."""
    return np.array([-1 if row[name] is None else row[name] for row in found], np.int64)
