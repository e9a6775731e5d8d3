"""Rows of the tables of graphs: what was made of one prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ato.graphs.circuit_tracer import node_ids
from ato.graphs.comparison import EdgeComparison, compare_edges, compare_features
from ato.graphs.faithfulness import Faithfulness
from ato.graphs.graph import Graph
from ato.graphs.summary import summarise
from ato.numerics.intervals import Estimate, number_or_none
from tasks.engine.columns import estimate_columns
from tasks.engine.stage import Stage
from tasks.graphs.attention import head_rows, pair_rows
from tasks.graphs.captions import pages_of
from tasks.graphs.files import FOLDER, Texts, features_of, groups_of, write_files
from tasks.graphs.making import GraphMaker, MadeGraph
from tasks.graphs.stages import GraphStudy, Prompt

TABLES = ("graphs", "graph_nodes", "graph_edges", "graph_heads", "graph_qk", "graph_supernodes")
"""Tables of one prompt's graphs."""


def write_graphs(of: GraphStudy, maker: GraphMaker, prompt: Prompt, made: Sequence[MadeGraph], stage: Stage) -> None:
    """Write rows and files of the graphs of one prompt."""
    tokens = tuple(maker.texts.of(np.array(prompt.token_ids)))
    logits = _target_texts(maker, made)
    features = {pair for one in made for pair in features_of(one.pruned.graph)}
    texts = Texts(prompt, tokens, logits, tuple(pages_of(of, features)))
    write_files(made, texts, of.settings, stage)
    left_out = maker.left_out(prompt)
    transport = next((one.graph for one in made if one.kind == "transport"), None)
    tables: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for one in made:
        own = {"collection": stage.collection, "graph_set": stage.key, "prompt": prompt.name, "graph_kind": one.kind}
        beside = transport if one.kind == "attribution" else None
        edges = None if beside is None else compare_edges(one.graph, beside)
        text = {"text": prompt.text, "tokens": list(tokens), "path": f"artifacts/{FOLDER}/{stage.key}"}
        targets = _targets(prompt, one, logits) | {"left_out": sorted(left_out)}
        tables["graphs"].append(own | text | targets | _made_of(of, one) | _sizes(one) | _checks(one, edges))
        tables["graph_nodes"] += [own | row for row in _nodes(of, one, edges, texts)]
        tables["graph_edges"] += [own | row for row in _edges(one, beside)]
        if one.attribution is not None:
            heads = head_rows(one.attribution, one.pruned, one.attention, of.settings.n_pairs)
            tables["graph_heads"] += [own | row for row in heads]
            tables["graph_qk"] += [own | row for row in pair_rows(one.attention, of.settings.n_pairs)]
        tables["graph_supernodes"] += [own | row for row in groups_of(one, texts)]
    for table, found in tables.items():
        stage.write(table, found)
    stage.tokens_run = len(prompt.token_ids)


def _target_texts(maker: GraphMaker, made: Sequence[MadeGraph]) -> dict[int, str]:
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


def _targets(prompt: Prompt, made: MadeGraph, logits: Mapping[int, str]) -> dict[str, Any]:
    """Columns of what was to be explained; of two tokens or their difference there is no single one."""
    is_one = len(prompt.target_ids) == 1 and prompt.against_id is None
    target = prompt.target_ids[0] if is_one else None
    return {
        "target_token_id": target,
        "target_token": None if target is None else logits.get(target),
        "targets": list(logits.values()) if made.kind == "attribution" else [],
    }


def _made_of(of: GraphStudy, made: MadeGraph) -> dict[str, Any]:
    s = of.settings
    return {
        "token_ids": list(made.graph.token_ids),
        "n_tokens": len(made.graph.token_ids),
        "layers": [one.layer for one in of.dictionaries],
        "saes": [one.key for one in of.dictionaries],
        "operators": [one.key for one in of.operators] if made.kind == "transport" else [],
        "max_features": s.max_features if made.kind == "attribution" else None,
        "node_threshold": s.node_threshold,
        "edge_threshold": s.edge_threshold,
        "precision": made.precision,
        "seconds": made.seconds,
    }


def _sizes(made: MadeGraph) -> dict[str, Any]:
    kept, whole = made.pruned.graph, made.graph
    n_shown = int((whole.kind == "feature").sum())
    return {
        "n_active": n_shown if made.attribution is None else len(made.attribution.sources),
        "n_nodes": len(kept.kind),
        "n_edges": len(kept.weight),
        "n_nodes_whole": len(whole.kind),
        "n_edges_whole": len(whole.weight),
    }


def _checks(made: MadeGraph, edges: EdgeComparison | None) -> dict[str, Any]:
    summary = summarise(made.graph, edges=edges)
    same = None
    if edges is not None and np.any(edges.effect):
        size = np.abs(edges.effect)
        same = float(size[edges.same_position].sum() / size.sum())
    return {
        "replacement": number_or_none(summary.scores.replacement),
        "completeness": number_or_none(summary.scores.completeness),
        "error_share": number_or_none(summary.error_share),
        "transport_share": number_or_none(summary.transport_share),
        "same_position_share": same,
        "conservation_residual": number_or_none(made.largest_residual),
        "repeat_difference": made.repeat_difference,
        **_ablated(made.faithfulness),
    }


def _ablated(found: Faithfulness | None) -> dict[str, Any]:
    """Columns of what ablations say; NULL where no edge was ablated."""
    if found is None:
        nothing = Estimate(None)
        correlations = dict.fromkeys(("pearson", "spearman", "pearson_control"), nothing)
        return {"n_ablated": 0, "frozen_gap": None} | estimate_columns(**correlations)
    largest = float(np.abs(found.weight).max())
    gap = float(np.abs(found.frozen - found.weight).max()) / largest if largest else 0.0
    correlations = {
        "pearson": found.pearson,
        "spearman": found.spearman,
        "pearson_control": found.control_pearson,
    }
    return {"n_ablated": len(found.edge), "frozen_gap": gap} | estimate_columns(**correlations)


def _nodes(of: GraphStudy, made: MadeGraph, edges: EdgeComparison | None, texts: Texts) -> list[dict[str, Any]]:
    """Rows of the kept nodes, with what the whole graph says of them."""
    whole, kept, n = made.graph, made.pruned.graph, len(made.graph.kind)
    keys = {one.layer: one.key for one in of.dictionaries}
    cut = ~made.pruned.edges
    books = {
        "residual": made.residual,
        "pruned_weight": np.bincount(whole.target[cut], whole.weight[cut], minlength=n),
        "absolute_weight": np.bincount(whole.target, np.abs(whole.weight), minlength=n),
    }
    compared: dict[int, tuple[float | None, int]] = {}
    if edges is not None:
        by_feature = compare_features(whole, edges)
        shares = map(number_or_none, by_feature.share.tolist())
        compared = dict(
            zip(by_feature.node.tolist(), zip(shares, by_feature.n_edges.tolist(), strict=True), strict=True)
        )
    names, found = node_ids(kept), []
    for node, at in enumerate(np.flatnonzero(made.pruned.nodes).tolist()):
        kind, layer, position = str(kept.kind[node]), int(kept.layer[node]), int(kept.position[node])
        number = int(kept.feature[node])
        is_leaf, is_feature, is_logit = bool(np.isnan(kept.total[node])), kind == "feature", kind == "logit"
        share, n_compared = compared.get(at, (None, 0))
        found.append(
            {
                "node": node,
                "node_id": names[node],
                "kind": kind,
                "layer": layer,
                "position": position,
                "token": texts.logits[number] if is_logit else texts.tokens[position],
                "sae": keys[layer] if kind in ("feature", "error") else None,
                "feature_id": number if is_feature else None,
                "token_id": _token_id(made, kind, number, position),
                "label": texts.labels.get((layer, number)) if is_feature else None,
                "activation": number_or_none(kept.activation[node]),
                "influence": number_or_none(kept.influence[node]),
                "total": None if is_leaf else float(kept.total[node]),
                **{name: None if is_leaf else float(values[at]) for name, values in books.items()},
                "transport_share": share,
                "n_compared": n_compared if is_feature else None,
            }
        )
    return found


def _token_id(made: MadeGraph, kind: str, number: int, position: int) -> int | None:
    """Of a token, or of a logit that is not a difference."""
    if kind == "token":
        return made.graph.token_ids[position]
    is_difference = made.attribution is not None and made.attribution.targets.minuend_subtrahend is not None
    return number if kind == "logit" and not is_difference else None


def _edges(made: MadeGraph, transport: Graph | None) -> list[dict[str, Any]]:
    """Rows of the kept edges; of those that were ablated with what that did."""
    graph = made.pruned.graph
    carried: dict[int, tuple[float, float | None]] = {}
    if transport is not None:
        found = compare_edges(graph, transport)
        shares = map(number_or_none, found.share.tolist())
        carried = dict(zip(found.edge.tolist(), zip(found.transport.tolist(), shares, strict=True), strict=True))
    sample = made.faithfulness
    ablated = {} if sample is None else dict(zip(sample.edge.tolist(), sample.effect.tolist(), strict=True))
    of_whole = np.flatnonzero(made.pruned.edges).tolist()
    ends = zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), of_whole, strict=True)
    return [
        {
            "source": source,
            "target": target,
            "weight": weight,
            "transport_weight": carried.get(edge, (None, None))[0],
            "transport_share": carried.get(edge, (None, None))[1],
            "ablation": ablated.get(at),
        }
        for edge, (source, target, weight, at) in enumerate(ends)
    ]
