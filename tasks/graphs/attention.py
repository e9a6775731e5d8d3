"""Attention in the graphs of a prompt: which edges and heads are traced, and the rows of ``graph_heads`` and ``graph_qk``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.graphs.attribution import Attribution
from ato.graphs.heads import HeadContributions, head_contributions
from ato.graphs.pruning import Pruned
from ato.graphs.scores import Look, TracedScore, Writers, trace_scores
from tasks.settings import GraphSettings


@dataclass(frozen=True)
class TracedAttention:
    """Parts of the strongest edges that pass heads, and the scores of the strongest of these heads."""

    heads: Sequence[HeadContributions] = ()
    scores: Sequence[TracedScore] = ()


def trace_attention(made: Attribution, pruned: Pruned, settings: GraphSettings) -> TracedAttention:
    """Trace the strongest kept edges from features, and the scores of the heads with the largest parts of them.

    Half of the edges are within a position, half between positions, where all passes attention; either half is filled up
    from the other.
    """
    heads = list(head_contributions(made, strongest_edges(made, pruned, settings.n_traced_edges)))
    graph, parts = made.graph, []
    for found in heads:
        position = int(graph.position[graph.target[found.edge]])
        for number, layer in enumerate(found.layers.tolist()):
            for head, read in enumerate(found.by_key[number]):
                key = int(np.abs(read).argmax())
                parts.append((-abs(float(read.sum())), Look(layer, head, position, key)))
    looks = list(dict.fromkeys(look for size, look in sorted(parts) if size))[: settings.n_traced_scores]
    return TracedAttention(heads, list(trace_scores(made, looks)))


def strongest_edges(made: Attribution, pruned: Pruned, n: int) -> list[int]:
    """Kept edges from features over at least one block, the strongest n: half within a position, half between positions."""
    graph, last = made.graph, made.sources.local.model.n_layers - 1
    over = np.minimum(graph.layer[graph.target], last) > graph.layer[graph.source]
    kept = np.flatnonzero(pruned.edges & (graph.kind[graph.source] == "feature") & over)
    kept = kept[np.argsort(-np.abs(graph.weight[kept]), kind="stable")]
    apart = graph.position[graph.source[kept]] != graph.position[graph.target[kept]]
    n_apart = min(int(apart.sum()), max(n // 2, n - int((~apart).sum())))
    chosen = np.concatenate([kept[apart][:n_apart], kept[~apart][: n - n_apart]])
    return sorted(chosen.tolist())


def head_rows(made: Attribution, pruned: Pruned, traced: TracedAttention, n_pairs: int) -> list[dict[str, Any]]:
    """Columns of ``graph_heads`` beside the keys of the graph: each head of each traced edge."""
    graph, node = made.graph, np.cumsum(pruned.nodes) - 1
    score = {found.look: found for found in traced.scores}
    rest = {found.look: found.largest(n_pairs)[3] for found in traced.scores}
    rows = []
    for found in traced.heads:
        source, target = int(graph.source[found.edge]), int(graph.target[found.edge])
        position = int(graph.position[target])
        for number, layer in enumerate(found.layers.tolist()):
            pattern = made.sources.local.frozen.pattern(layer)[0]
            for head, read in enumerate(found.by_key[number]):
                look = Look(layer, head, position, int(np.abs(read).argmax()))
                of = score.get(look)
                rows.append(
                    {
                        "source": int(node[source]),
                        "target": int(node[target]),
                        "layer": layer,
                        "head": head,
                        "contribution": float(read.sum()),
                        "through": float(found.through[number, head]),
                        "direct": found.direct,
                        "key_position": look.key_position,
                        "key_contribution": float(read[look.key_position]),
                        "attention": float(pattern[head, position, look.key_position]),
                        "score": None if of is None else of.score,
                        "mean_score": None if of is None else of.mean_score,
                        "rest": rest.get(look),
                    }
                )
    return rows


def pair_rows(traced: TracedAttention, n_pairs: int) -> list[dict[str, Any]]:
    """Columns of ``graph_qk`` beside the keys of the graph: the largest pairs of each traced score."""
    rows = []
    for found in traced.scores:
        query, key, weight, _ = found.largest(n_pairs)
        for pair, (asks, answers, part) in enumerate(zip(query.tolist(), key.tolist(), weight.tolist(), strict=True)):
            ends = _node("query", found.query, asks) | _node("key", found.key, answers)
            rows.append(found.look._asdict() | {"pair": pair, "weight": part} | ends)
    return rows


def _node(side: str, writers: Writers, number: int) -> dict[str, Any]:
    feature = int(writers.feature[number])
    return {
        f"{side}_kind": str(writers.kind[number]),
        f"{side}_layer": int(writers.layer[number]),
        f"{side}_node_position": int(writers.position[number]),
        f"{side}_feature_id": None if feature < 0 else feature,
    }
