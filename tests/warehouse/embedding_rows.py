"""Embeddings of two SAEs with planted vectors: eight random numbers, then zeros up to the length of the encoder's."""

from datetime import timedelta
from typing import Any

import numpy as np

from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

ENCODER = "all-MiniLM-L6-v2"
D, N_RANDOM, N_FEATURES, N_QUERIES = 384, 8, 12, 20
KINDS = {"description": 1, "example": 2, "tokens": 1}
"""Kind -> texts of each feature."""
OF = {"sae-layer02-bbbb1111": 2, "sae-layer04-aaaa0000": 4}
"""SAE -> its layer."""


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors of length 1, as the table has them."""
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def embedded_rows(saes: dict[str, int]) -> list[dict[str, Any]]:
    """Rows of ``feature_embeddings``; the first two features of an SAE have equal texts with equal vectors."""
    rng = np.random.default_rng(0)
    found = []
    for sae, layer in saes.items():
        for kind, n in KINDS.items():
            vectors = np.zeros((N_FEATURES, n, D), np.float32)
            vectors[..., :N_RANDOM] = unit(rng.standard_normal((N_FEATURES, n, N_RANDOM)))
            vectors[1] = vectors[0]
            for feature in range(N_FEATURES):
                for number in range(1, n + 1):
                    text = f"{kind} {max(feature, 1)} {number} of {sae}"
                    own = {"sae": sae, "layer": layer, "feature_id": feature, "kind": kind, "number": number}
                    vector = vectors[feature, number - 1].tolist()
                    made = {"embedding": f"embed-{kind}-{sae}", "source": "x", "encoder": ENCODER}
                    found.append(row("feature_embeddings", **own, **made, text=text, vector=vector))
    return found


def null_rows(saes: dict[str, int]) -> list[dict[str, Any]]:
    """Rows of ``embedding_nulls``."""
    rng = np.random.default_rng(1)
    return [
        row(
            "embedding_nulls",
            embedding=f"embed-{kind}-{sae}",
            sae=sae,
            layer=layer,
            kind=kind,
            query=f"query {i}",
            similarity=float(rng.uniform(0.3, 1)),
            encoder=ENCODER,
        )
        for sae, layer in saes.items()
        for kind in KINDS
        for i in range(N_QUERIES)
    ]


def write_embeddings(warehouse: Warehouse, saes: dict[str, int] = OF) -> None:
    """Write and commit the embeddings, a stage for each SAE and kind."""
    vectors, nulls = embedded_rows(saes), null_rows(saes)
    for key in dict.fromkeys(one["embedding"] for one in nulls):
        own = {
            table: [one for one in rows if one["embedding"] == key]
            for table, rows in (("feature_embeddings", vectors), ("embedding_nulls", nulls))
        }
        at = STARTED + timedelta(hours=4)
        files = write(warehouse, own, key)
        commit(warehouse, "embed", key, collection=COLLECTION, settings={}, files=files, started_at=at, seconds=2.0)
