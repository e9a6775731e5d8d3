"""Rows of the tables of graphs: what was made of one prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ato.graphs.circuit_tracer import node_ids
from ato.graphs.comparison import compare_edges
from ato.graphs.faithfulness import Faithfulness
from ato.graphs.graph import Graph
from ato.numerics.intervals import Estimate, number_or_none
from tasks.engine.columns import estimate_columns
from tasks.engine.stage import Stage
from tasks.graphs.captions import FeatureFacts
from tasks.graphs.files import FOLDER, features_of, write_files
from tasks.graphs.making import GraphMaker, MadeGraph
from tasks.graphs.stages import GraphStudy, Prompt


def write_graphs(of: GraphStudy, maker: GraphMaker, prompt: Prompt, made: Sequence[MadeGraph], stage: Stage) -> None:
    """Write rows and files of the graphs of one prompt."""
    ids = made[0].graph.token_ids
    tokens = tuple(maker.texts.of(np.array(ids)))
    logits = target_texts(maker, made)
    facts = FeatureFacts(of.study.warehouse, of.study.collection, tuple(of.dictionaries))
    labels = facts.labels({pair for one in made for pair in features_of(one.pruned.graph)})
    write_files(made, prompt, (tokens, logits, labels), facts, of.settings, stage)
    transport = next((one.graph for one in made if one.kind == "transport"), None)
    keys = {one.layer: one.key for one in of.dictionaries}
    tables: dict[str, list[dict[str, Any]]] = {"graphs": [], "graph_nodes": [], "graph_edges": []}
    for one in made:
        own = {"collection": stage.collection, "graph": stage.key, "kind": one.kind}
        beside = transport if one.kind == "attribution" else None
        tables["graphs"].append(
            own | _graph(of, prompt, one, tokens, list(logits.values()), stage) | _compared(one, beside)
        )
        tables["graph_nodes"] += [own | row for row in _nodes(one, tokens, logits, labels, keys)]
        tables["graph_edges"] += [own | row for row in _edges(one.pruned.graph, beside)]
    for table, found in tables.items():
        stage.write(table, found)
    stage.tokens_run = len(ids)


def target_texts(maker: GraphMaker, made: Sequence[MadeGraph]) -> dict[int, str]:
    """Token id of a logit -> its text; of a difference both tokens'."""
    found: dict[int, str] = {}
    for one in made:
        if one.attribution is None:
            continue
        targets = one.attribution.targets
        if targets.minuend_subtrahend is not None:
            first, second = maker.texts.of(np.array(targets.minuend_subtrahend))
            found[targets.token_ids[0]] = f"{first} − {second}"
        else:
            found |= dict(zip(targets.token_ids, maker.texts.of(np.array(targets.token_ids)), strict=True))
    return found


def _graph(
    of: GraphStudy,
    prompt: Prompt,
    made: MadeGraph,
    tokens: Sequence[str],
    targets: list[str],
    stage: Stage,
) -> dict[str, Any]:
    s, whole, kept = of.settings, made.graph, made.pruned.graph
    attributed = made.kind == "attribution"
    return {
        "prompt": prompt.text,
        "origin": prompt.origin,
        "token_ids": list(whole.token_ids),
        "tokens": list(tokens),
        "targets": targets if attributed else [],
        "dictionary": "transcoder" if of.dictionaries[0].is_transcoder else "sae",
        "layers": [one.layer for one in of.dictionaries],
        "saes": [one.key for one in of.dictionaries],
        "operators": [one.key for one in of.operators],
        "precision": made.precision,
        "max_features": s.max_features if attributed else None,
        "node_threshold": s.node_threshold,
        "edge_threshold": s.edge_threshold,
        "n_nodes": len(kept.kind),
        "n_edges": len(kept.weight),
        "n_features": int((kept.kind == "feature").sum()),
        "n_nodes_whole": len(whole.kind),
        "n_edges_whole": len(whole.weight),
        "n_features_whole": int((whole.kind == "feature").sum()),
        "replacement": number_or_none(made.pruned.scores.replacement),
        "completeness": number_or_none(made.pruned.scores.completeness),
        "conservation": made.largest_residual,
        "repeat_difference": made.repeat_difference,
        **_faithful(made.faithfulness),
        "path": f"artifacts/{FOLDER}/{stage.key}",
    }


def _compared(made: MadeGraph, transport: Graph | None) -> dict[str, Any]:
    """Columns of the whole graph's comparison with that of transport; NULL without one."""
    if transport is None:
        return {"n_compared": 0, "n_same_position": 0, "transport_share": None, "same_position_share": None}
    found = compare_edges(made.graph, transport)
    size = np.abs(found.effect)
    return {
        "n_compared": len(found.edge),
        "n_same_position": int(found.same_position.sum()),
        "transport_share": number_or_none(found.total_share),
        "same_position_share": float(size[found.same_position].sum() / size.sum()) if size.any() else None,
    }


def _faithful(found: Faithfulness | None) -> dict[str, Any]:
    """Columns of what ablations say; NULL where no edge was ablated."""
    if found is None:
        nothing = Estimate(None)
        return {"n_ablated": 0, "frozen_gap": None} | estimate_columns(
            pearson=nothing, spearman=nothing, pearson_random=nothing
        )
    largest = float(np.abs(found.weight).max())
    gap = float(np.abs(found.frozen - found.weight).max()) / largest if largest else 0.0
    correlations = {"pearson": found.pearson, "spearman": found.spearman, "pearson_random": found.control_pearson}
    return {"n_ablated": len(found.edge), "frozen_gap": gap} | estimate_columns(**correlations)


def _nodes(
    made: MadeGraph,
    tokens: Sequence[str],
    logits: Mapping[int, str],
    labels: Mapping[tuple[int, int], str],
    keys: Mapping[int, str],
) -> list[dict[str, Any]]:
    """Rows of the kept nodes, with the books of the whole graph."""
    whole, kept, n = made.graph, made.pruned.graph, len(made.graph.kind)
    pruned = ~made.pruned.edges
    summed = np.bincount(whole.target, whole.weight, minlength=n)
    cut = np.bincount(whole.target[pruned], whole.weight[pruned], minlength=n)
    size = np.bincount(whole.target, np.abs(whole.weight), minlength=n)
    of_whole = np.flatnonzero(made.pruned.nodes)
    found = []
    for node, (name, at) in enumerate(zip(node_ids(kept), of_whole.tolist(), strict=True)):
        kind, layer, feature = str(kept.kind[node]), int(kept.layer[node]), int(kept.feature[node])
        leaf = bool(np.isnan(kept.total[node]))
        position = int(kept.position[node])
        books = {"total": whole.total[at], "edge_sum": summed[at], "cut": cut[at], "size": size[at]}
        books["residual"] = made.residual[at]
        found.append(
            {
                "node": node,
                "node_id": name,
                "node_kind": kind,
                "layer": None if layer < 0 else layer,
                "position": position,
                "token": logits[feature] if kind == "logit" else tokens[position],
                "sae": keys[layer] if kind == "feature" else None,
                "feature_id": feature if kind in ("feature", "logit") else None,
                "activation": number_or_none(kept.activation[node]),
                "influence": number_or_none(kept.influence[node]),
                **{column: None if leaf else float(value) for column, value in books.items()},
                "label": labels.get((layer, feature)) if kind == "feature" else None,
            }
        )
    return found


def _edges(graph: Graph, transport: Graph | None) -> list[dict[str, Any]]:
    same = graph.position[graph.source] == graph.position[graph.target]
    carried: dict[int, tuple[float, float | None]] = {}
    if transport is not None:
        found = compare_edges(graph, transport)
        shares = map(number_or_none, found.share.tolist())
        carried = dict(zip(found.edge.tolist(), zip(found.transport.tolist(), shares, strict=True), strict=True))
    ends = zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), same.tolist(), strict=True)
    return [
        {
            "source": source,
            "target": target,
            "weight": weight,
            "same_position": at_one,
            "transport_weight": carried.get(edge, (None, None))[0],
            "transport_share": carried.get(edge, (None, None))[1],
        }
        for edge, (source, target, weight, at_one) in enumerate(ends)
    ]
