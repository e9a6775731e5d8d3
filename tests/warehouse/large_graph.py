"""A graph as large as the viewer promises to show: 500 nodes and 10,000 edges, of one prompt."""

from typing import Any

import numpy as np

from ato.graphs.graph import Graph
from tests.warehouse.graph_rows import rows_alone

PROMPT = "large"
N_NODES, N_EDGES = 500, 10_000
N_TOKENS, N_LOGITS, LAYERS = 20, 6, (2, 4, 6, 8)
TOKENS = tuple(f" w{i}" for i in range(N_TOKENS))
LAST_LAYER = 10


def large_graph(seed: int = 0) -> Graph:
    """Tokens, features at random positions of four layers, some logits; edges from lower layers, never to earlier positions."""
    rng = np.random.default_rng(seed)
    n_features = N_NODES - N_TOKENS - N_LOGITS
    kind = np.array(["token"] * N_TOKENS + ["feature"] * n_features + ["logit"] * N_LOGITS)
    layer = np.concatenate([np.full(N_TOKENS, -1), np.sort(rng.choice(LAYERS, n_features)), [LAST_LAYER] * N_LOGITS])
    position = np.concatenate([np.arange(N_TOKENS), rng.integers(0, N_TOKENS, n_features), [N_TOKENS - 1] * N_LOGITS])
    source, target = np.nonzero((layer[:, None] < layer) & (position[:, None] <= position))
    chosen = np.sort(rng.choice(len(source), N_EDGES, replace=False))
    source, target, weight = source[chosen], target[chosen], rng.standard_normal(N_EDGES)
    return Graph(
        token_ids=tuple(range(N_TOKENS)),
        kind=kind,
        layer=layer,
        position=position,
        feature=np.concatenate([np.full(N_TOKENS, -1), np.arange(n_features), np.arange(7, 7 + N_LOGITS)]),
        activation=np.concatenate(
            [np.full(N_TOKENS, np.nan), rng.random(n_features), 0.5 ** np.arange(1, N_LOGITS + 1)]
        ),
        influence=np.full(N_NODES, np.nan),
        source=source,
        target=target,
        weight=weight,
        total=np.where(kind == "token", np.nan, np.bincount(target, weight, minlength=N_NODES)),
    )


def large_graph_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of its tables; between features of one position half of each edge is transport, between others nothing."""
    graph = large_graph()
    tables = rows_alone(graph, {"graph_set": "graphs-large", "prompt": PROMPT, "graph_kind": "attribution"}, TOKENS)
    tables["graphs"][0] |= {"tokens": list(TOKENS), "text": "".join(TOKENS)}
    for edge in tables["graph_edges"]:
        ends = edge["source"], edge["target"]
        if all(graph.kind[end] == "feature" for end in ends):
            share = 0.5 if graph.position[ends[0]] == graph.position[ends[1]] else 0.0
            edge |= {"transport_weight": share * edge["weight"], "transport_share": share}
    return tables
