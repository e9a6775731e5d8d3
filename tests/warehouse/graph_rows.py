"""Rows of graphs for tests: two prompts, each with an attribution and a transport graph, made by the science itself.

The attribution graphs are planted: the whole transport graph with every edge ``FACTORS[prompt]`` times as strong, so that
one over that factor of each is transport, and one edge from another position in which nothing is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from ato.graphs.circuit_tracer import node_ids
from ato.graphs.comparison import compare_edges, compare_features
from ato.graphs.graph import Graph
from ato.graphs.motifs import MotifCounter
from ato.graphs.pruning import cumulative_influence, influence
from ato.graphs.summary import summarise
from ato.graphs.transport import transport_graph
from tests.ato.graphs.graphs_by_hand import operator_of, sites_of
from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

FACTORS = {"capital": 2.0, "river": 4.0}
"""Prompt -> strength of its attribution edges in those of transport."""
TOKENS = ("<bos>", "The", " capital")
LAYERS = (1, 3)


def transport_of(prompt: str) -> Graph:
    """The transport graph of a prompt: SAEs at layers 1 and 3."""
    seed = sorted(FACTORS).index(prompt)
    return transport_graph(sites_of(LAYERS, n_tokens=len(TOKENS), seed=seed), [operator_of(*LAYERS)], (1, 5, 6))


def attribution_of(prompt: str) -> Graph:
    """The transport graph with stronger edges, and one more from position 0 to position 2, of weight 1."""
    graph = transport_of(prompt)
    is_feature = graph.kind == "feature"
    source = np.flatnonzero(is_feature & (graph.layer == LAYERS[0]) & (graph.position == 0))[0]
    target = np.flatnonzero(is_feature & (graph.layer == LAYERS[1]) & (graph.position == 2))[0]
    total = FACTORS[prompt] * graph.total
    total[target] += 1
    return replace(
        graph,
        source=np.append(graph.source, source),
        target=np.append(graph.target, target),
        weight=np.append(FACTORS[prompt] * graph.weight, 1.0),
        total=total,
    )


def graph_rows(graph_set: str = "graphs-1", prompts: Iterable[str] = FACTORS) -> dict[str, list[dict[str, Any]]]:
    """Rows of all tables of graphs."""
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("graphs", "graph_nodes", "graph_edges", "graph_heads", "graph_qk", "graph_supernodes")
    }
    counter, prompts = MotifCounter(), list(prompts)
    for prompt in prompts:
        graphs = {"attribution": attribution_of(prompt), "transport": transport_of(prompt)}
        for kind, graph in graphs.items():
            own = {"graph_set": graph_set, "prompt": prompt, "graph_kind": kind}
            edges = compare_edges(graph, graphs["transport"]) if kind == "attribution" else None
            tables["graphs"].append(_graph(graph, edges, own))
            tables["graph_nodes"] += _nodes(graph, edges, own)
            tables["graph_edges"] += _edges(graph, edges, own)
            tables["graph_supernodes"].append(_supernode(graph, own))
            if kind == "attribution":
                counter.update(prompt, graph, edges)
                heads, pairs = _attention(tables["graph_edges"], graph, own)
                tables["graph_heads"] += heads
                tables["graph_qk"] += pairs
    tables["graph_motifs"] = _motifs(counter, graph_set, len(prompts))
    return tables


def rows_alone(graph: Graph, own: dict[str, str], tokens: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of one graph that no other is compared with."""
    return {
        "graphs": [_graph(graph, None, own)],
        "graph_nodes": _nodes(graph, None, own, tokens),
        "graph_edges": _edges(graph, None, own),
    }


def write_graphs(warehouse: Warehouse, graph_set: str = "graphs-1", hour: int = 1, **values: Any) -> None:
    """Write and commit ``graph_rows``."""
    commit_graphs(warehouse, graph_set, graph_rows(graph_set, **values), hour)


def commit_graphs(warehouse: Warehouse, graph_set: str, tables: dict[str, list[dict[str, Any]]], hour: int = 1) -> None:
    """Write and commit rows of graphs."""
    commit(
        warehouse,
        "graphs",
        graph_set,
        collection=COLLECTION,
        settings={},
        files=write(warehouse, tables, graph_set),
        started_at=STARTED + timedelta(hours=hour),
        seconds=2.0,
    )


def _graph(graph: Graph, edges: Any, own: dict[str, str]) -> dict[str, Any]:
    summary = summarise(graph, edges=edges)
    return row(
        "graphs",
        **own,
        text=" ".join(TOKENS[1:]),
        token_ids=list(graph.token_ids),
        tokens=list(TOKENS),
        target_token_id=7,
        target_token=" of",
        layers=list(LAYERS),
        saes=[f"sae-{layer}" for layer in LAYERS],
        n_tokens=summary.n_tokens,
        n_active=summary.nodes["feature"],
        n_nodes=summary.n_nodes,
        n_edges=summary.n_edges,
        n_nodes_whole=summary.n_nodes,
        n_edges_whole=summary.n_edges,
        replacement=summary.scores.replacement,
        completeness=summary.scores.completeness,
        error_share=summary.error_share,
        transport_share=_known(summary.transport_share),
        precision="float64",
        conservation_residual=summary.residual,
        seconds=1.0,
    )


def _nodes(graph: Graph, edges: Any, own: dict[str, str], tokens: Sequence[str] = TOKENS) -> list[dict[str, Any]]:
    sizes = np.bincount(graph.target, np.abs(graph.weight), minlength=len(graph.kind))
    ranks, names = cumulative_influence(influence(graph)), node_ids(graph)
    shares: dict[int, tuple[float, int]] = {}
    if edges is not None:
        found = compare_features(graph, edges)
        shares = dict(zip(found.node.tolist(), zip(found.share.tolist(), found.n_edges.tolist())))
    rows = []
    for i, kind in enumerate(graph.kind.tolist()):
        share, n_compared = shares.get(i, (None, 0))
        rows.append(
            row(
                "graph_nodes",
                **own,
                node=i,
                node_id=names[i],
                kind=kind,
                layer=int(graph.layer[i]),
                position=int(graph.position[i]),
                token=tokens[graph.position[i]],
                sae=f"sae-layer{graph.layer[i]}" if kind in ("feature", "error") else None,
                feature_id=int(graph.feature[i]) if kind == "feature" else None,
                token_id=int(graph.feature[i]) if kind == "logit" else None,
                activation=_known(graph.activation[i]),
                influence=float(ranks[i]),
                total=_known(graph.total[i]),
                absolute_weight=None if np.isnan(graph.total[i]) else float(sizes[i]),
                transport_share=share,
                n_compared=n_compared if kind == "feature" else None,
            )
        )
    return rows


def _edges(graph: Graph, edges: Any, own: dict[str, str]) -> list[dict[str, Any]]:
    compared = {}
    if edges is not None:
        compared = dict(zip(edges.edge.tolist(), zip(edges.transport.tolist(), edges.share.tolist())))
    ends = graph.source.tolist(), graph.target.tolist(), graph.weight.tolist()
    rows = []
    for i, (source, target, weight) in enumerate(zip(*ends)):
        transport, share = compared.get(i, (None, None))
        values = {"transport_weight": transport, "transport_share": share}
        rows.append(row("graph_edges", **own, source=source, target=target, weight=weight, **values))
    return rows


def _supernode(graph: Graph, own: dict[str, str]) -> dict[str, Any]:
    """The first two features of a position, as if they were alike."""
    first, second = np.flatnonzero((graph.kind == "feature") & (graph.position == 2))[:2].tolist()
    names, values = node_ids(graph), {"supernode": 0, "name": "both", "position": 2, "cosine": 0.9}
    return row("graph_supernodes", **own, **values, nodes=[first, second], node_ids=[names[first], names[second]])


def _attention(
    edges: list[dict[str, Any]], graph: Graph, own: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The last edge of the graph, of which two heads of block 2 have all but a quarter, and the first one's score."""
    edge = edges[-1]
    position = int(graph.position[edge["target"]])
    ends = {"source": edge["source"], "target": edge["target"], "layer": 2, "key_position": 0, "attention": 0.5}
    ends["direct"] = edge["weight"] / 4
    heads = [
        row("graph_heads", **own, **ends, head=head, contribution=part, through=part, key_contribution=part)
        for head, part in enumerate((edge["weight"], -edge["weight"] / 4))
    ]
    heads[0] |= {"score": 3.0, "mean_score": 1.0, "rest": 0.5}
    look = {"layer": 2, "head": 0, "query_position": position, "key_position": 0}
    sides = {"query_layer": 1, "query_node_position": 0, "query_feature_id": 3}
    sides |= {"key_layer": -1, "key_node_position": 0, "key_feature_id": None}
    kinds = {"query_kind": "feature", "key_kind": "constant"}
    weights = enumerate((2.0, 0.5))
    return heads, [row("graph_qk", **own, **look, **sides, **kinds, pair=i, weight=part) for i, part in weights]


def _motifs(counter: MotifCounter, graph_set: str, n_prompts: int) -> list[dict[str, Any]]:
    found = counter.result(min_graphs=1)
    columns = {name: values.tolist() for name, values in vars(found).items()}
    return [
        row(
            "graph_motifs",
            graph_set=graph_set,
            graph_kind="attribution",
            leap=values["target_layer"] - values["source_layer"],
            source_sae=f"sae-layer{values['source_layer']}",
            target_sae=f"sae-layer{values['target_layer']}",
            n_prompts=n_prompts,
            **values,
        )
        for values in (dict(zip(columns, each)) for each in zip(*columns.values()))
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
