"""Two collections with planted differences: two operators of one pair, one SAE in both, losses of transport by sequence."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, row
from warehouse.storage.manifests import PASSED, commit
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

OTHER, OTHER_SAE = "other-4567abcd", "sae-layer04-bbbb0000"
"""Another collection, of other documents, and the key that the same SAE has there."""
PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}
N_FEATURES, N_SEQUENCES = 12, 16
BETTER = 0.1
"""What the second operator is better by, on average."""
NOISE = np.random.default_rng(0).normal(0, 0.02, N_FEATURES)
R2 = np.linspace(0.2, 0.8, N_FEATURES)
DOCUMENTS = np.arange(N_SEQUENCES) // 2
LOSSES = {
    name: np.random.default_rng(i).normal(3, 0.3, N_SEQUENCES) for i, name in enumerate(("ridge-2-4", "better-2-4"))
}
"""Operator -> next-token loss of each sequence with transport at position 1."""


def r2_of(operator: str) -> np.ndarray:
    """The planted r2 of each feature [features]."""
    return R2 + (BETTER + NOISE - NOISE.mean() if operator == "better-2-4" else 0)


def write_all(warehouse: Warehouse, collection: str, stage: str, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Commit rows of one stage of a collection."""
    files = []
    for name, rows in tables.items():
        of_collection = [r | {"collection": collection} for r in rows]
        extra = TABLES[name].partition[1:]
        for values in sorted({tuple(r[e] for e in extra) for r in of_collection}):
            own = [r for r in of_collection if tuple(r[e] for e in extra) == values]
            files.append(warehouse.write_rows(name, own, "k", collection=collection, **dict(zip(extra, values))))
    commit(
        warehouse,
        stage,
        f"{stage}-{collection}",
        collection=collection,
        settings={},
        files=files,
        quality=PASSED,
        started_at=STARTED,
        seconds=1.0,
    )


def build(root: Path) -> Warehouse:
    """The warehouse with both collections."""
    warehouse = Warehouse(root)
    _collect(warehouse, COLLECTION, "doc")
    _collect(warehouse, OTHER, "elsewhere")
    _study(warehouse, COLLECTION, SAE, ("ridge-2-4", "better-2-4"))
    _study(warehouse, OTHER, OTHER_SAE, ("ridge-2-4-there",))
    return warehouse


def _collect(warehouse: Warehouse, collection: str, document: str) -> None:
    sequences = [
        row("sequences", sequence_id=i, document_id=f"{document}{i // 2}", document=i // 2, split="test")
        for i in range(N_SEQUENCES)
    ]
    own = row(
        "collections",
        n_documents=8,
        n_sequences=N_SEQUENCES,
        n_tokens=64,
        n_kept=64,
        layers=[2, 4],
        d_model=6,
        n_layers=6,
    )
    write_all(warehouse, collection, "collect", {"collections": [own], "sequences": sequences})


def _study(warehouse: Warehouse, collection: str, sae: str, operators: tuple[str, ...]) -> None:
    saes = [row("saes", sae=sae, layer=4, d_sae=N_FEATURES, weights_hash="same", fvu=0.2, fvu_low=0.17, fvu_high=0.23)]
    stats = [
        row("feature_stats", sae=sae, layer=4, feature_id=f, n_tokens=100, n_active=f, activation_rate=f / 100)
        for f in range(N_FEATURES)
    ]
    fitted = [
        row(
            "operators",
            operator=name,
            **PAIR,
            n_test=100,
            r2_val=0.5 + 0.1 * i,
            r2_test=0.7,
            r2_test_low=0.6,
            r2_test_high=0.8,
        )
        for i, name in enumerate(operators)
    ]
    scores = [
        row(
            "feature_transport",
            evaluation="evaluate-1",
            operator=name,
            sae=sae,
            **PAIR,
            feature_id=f,
            n_active=50,
            r2=float(r2),
            r2_low=float(r2) - 0.03,
            r2_high=float(r2) + 0.04,
            verdict="undetermined",
        )
        for name in operators
        for f, r2 in enumerate(r2_of(name))
    ]
    losses = [
        row(
            "causal_perplexity",
            evaluation="causal-1",
            operator=name,
            **PAIR,
            intervention="transport",
            positions="1",
            sequence_id=i,
            document=int(DOCUMENTS[i]),
            log_ppl=float(loss),
            log_ppl_edited_onwards=float(loss),
        )
        for name in operators
        for i, loss in enumerate(LOSSES.get(name, ()))
    ]
    effects = [
        row("causal_effects", evaluation="causal-1", **PAIR, intervention="transport", positions="1", delta_log_ppl=0.1)
        for name in operators[:1]
    ]
    write_all(warehouse, collection, "saes", {"saes": saes})
    write_all(warehouse, collection, "features", {"feature_stats": stats})
    write_all(warehouse, collection, "operators", {"operators": fitted})
    write_all(warehouse, collection, "evaluate", {"feature_transport": scores})
    write_all(warehouse, collection, "causal", {"causal_perplexity": losses, "causal_effects": effects})
