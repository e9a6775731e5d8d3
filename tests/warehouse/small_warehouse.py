"""A small consistent warehouse: rows of every table that obey all expectations, for tests to bend one at a time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.storage.manifests import PASSED, commit
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES

COLLECTION = "tiny-0123abcd"
D_MODEL = 6
LAYERS = (2, 4)
SAE = "sae-layer04-aaaa0000"
TOKENS = ((5, 6, 7, 8), (5, 9, 9, 1), (3, 2, 1, 0), (4, 4, 4, 4))
"""Token ids of the sequences; the first token of each is dropped."""
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a table: the given values, NULL where allowed, else the least value that the declaration allows."""
    filled = {c.name: None if c.nullable else _least(c.type, c.minimum) for c in TABLES[table].columns if c.type}
    known = {"collection": COLLECTION, "sae": SAE, "method": "ridge", "position_policy": "same", "split": "train"}
    known |= {"site": "resid_post", "kind": "top", "source": "neuronpedia", "intervention": "none"}
    return filled | {name: value for name, value in known.items() if name in filled and value is not None} | values


def _least(type_: pa.DataType, minimum: float | None) -> Any:
    if pa.types.is_string(type_):
        return "x"
    if pa.types.is_timestamp(type_):
        return STARTED
    if pa.types.is_list(type_) or pa.types.is_map(type_):
        return []
    if pa.types.is_boolean(type_):
        return False
    return (float if pa.types.is_floating(type_) else int)(minimum or 0)


def collect_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of ``collections`` and ``sequences``: three documents, one a split, the train one with two sequences."""
    documents, splits = (0, 0, 1, 2), ("train", "train", "val", "test")
    sequences = [
        row(
            "sequences",
            sequence_id=i,
            document_id=f"doc{document}",
            document=document,
            split=split,
            fold=0 if split == "train" else None,
            n_tokens=4,
            token_ids=list(TOKENS[i]),
        )
        for i, (document, split) in enumerate(zip(documents, splits))
    ]
    collection = row(
        "collections",
        n_documents=3,
        n_sequences=4,
        n_tokens=16,
        n_kept=12,
        dropped_by_reason={"first_position": 4},
        layers=list(LAYERS),
        median_norm=[1.0, 2.0],
        d_model=D_MODEL,
        n_layers=6,
        seq_len=4,
        n_folds=2,
    )
    return {"collections": [collection], "sequences": sequences}


def residuals(layer: int) -> np.ndarray:
    """Residuals [12, 6] float32 of the kept tokens of a layer."""
    return np.random.default_rng(layer).normal(size=(12, D_MODEL)).astype(np.float32)


def activation_columns(x: np.ndarray) -> dict[str, Any]:
    """Columns of ``activations`` for residuals [12, 6]: positions 1 to 3 of each sequence."""
    sequence, position = np.repeat(np.arange(4), 3), np.tile(np.arange(1, 4), 4)
    return {
        "sequence_id": sequence.astype(np.int64),
        "position": position.astype(np.int32),
        "token_id": np.array(TOKENS, dtype=np.int32)[sequence, position],
        "norm": np.linalg.norm(x, axis=1).astype(np.float32),
        "residual": x,
    }


def attended_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of ``attended``: what two tokens of the first sequence attend to in block 4."""
    own = {"layer": 4, "sequence_id": 0}
    return {
        "attended": [
            row("attended", **own, position=p, source_positions=list(range(p, 0, -1)), weights=[0.5] * p)
            for p in (1, 2)
        ]
    }


def analysis_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables behind the operators: one pair 2 -> 4, one SAE at layer 4, three features."""
    pair = {"source_layer": 2, "leap": 2, "target_layer": 4}
    score = {"r2_test": 0.8, "r2_test_low": 0.7, "r2_test_high": 0.9, "r2_val": 0.8}
    shares = {"evaluation": "evaluate-1", **pair}
    return {
        "saes": [row("saes", layer=4, l0=8.0, d_sae=3, fvu=0.2, fvu_low=0.1, fvu_high=0.3, trusted=True)],
        "sae_training": [row("sae_training", step=i, tokens=100 * i, mse=1.0, fvu=0.5) for i in range(2)],
        "feature_stats": [
            row("feature_stats", layer=4, feature_id=i, n_tokens=10, n_active=i, activation_rate=i / 10)
            for i in range(3)
        ],
        "operators": [row("operators", operator="ridge-2-4", **pair, **score, rank=D_MODEL)],
        "operator_cv": [row("operator_cv", operator="ridge-2-4", **pair, alpha=1.0, fold=i, r2=0.5) for i in range(2)],
        "operator_spectra": [
            row("operator_spectra", operator="ridge-2-4", **pair, mode=m, singular_value=1 / m) for m in (1, 2)
        ],
        "compositions": [row("compositions", **shares, middle_layer=3, r2_direct=0.8, r2_composed=0.7)],
        "scaling": [
            row("scaling", **shares, fraction_asked=share, n_train=int(10 * share), r2=share / 2)
            for share in (0.5, 1.0)
        ],
        "feature_transport": [
            row(
                "feature_transport",
                operator="ridge-2-4",
                feature_id=i,
                **shares,
                r2=r2,
                r2_low=low,
                r2_high=r2,
                verdict=verdict,
                ceiling=0.9,
                sae_trusted=True,
            )
            for i, (r2, low, verdict) in enumerate(
                [(None, None, "undetermined"), (0.9, 0.8, "transported"), (0.1, -0.2, "computed")]
            )
        ],
        "efficiency": [
            row("efficiency", **shares, rank=r, d_kept=4, ceiling_in_sample=c)
            for r, c in ((1, 0.25), (2, 0.5), (4, 0.75))
        ],
        "canonical_correlations": [
            row("canonical_correlations", **shares, mode=m, rho_in_sample=rho) for m, rho in ((1, 0.9), (2, 0.5))
        ],
        "subspaces": [
            row(
                "subspaces",
                **shares,
                d_kept=4,
                lts_rank_90=1,
                lts_rank_95=2,
                lts_rank_99=3,
                lts_rank_90_paper=1,
                lts_rank_95_paper=2,
                lts_rank_99_paper=3,
            )
        ],
    }


def feature_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows about the features of the SAE at layer 4: scores, one example, one explanation."""
    own = {"scoring": "scores-1", "layer": 4}
    scores = [
        row(
            "feature_scores",
            **own,
            feature_id=i,
            n_tokens=10,
            n_active=i,
            activation_rate=i / 10,
            score=score,
            rank=rank,
            selected=rank == 1,
            top_tokens=[" a", " b"],
            top_logits=[2.0, 1.0],
        )
        for i, (score, rank) in enumerate([(None, None), (0.5, 2), (0.9, 1)])
    ]
    example = row(
        "feature_examples",
        **own,
        feature_id=2,
        sequence_id=3,
        position=2,
        start=1,
        activation=3.0,
        tokens=[" a", " b", " c"],
        activations=[0.0, 3.0, 1.0],
    )
    explanation = row(
        "explanations",
        layer=4,
        feature_id=2,
        explanation_id="e1",
        description="the letter b",
        alignment=1.0,
        aligned=True,
    )
    return {"feature_scores": scores, "feature_examples": [example], "explanations": [explanation]}


def causal_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of two sequences under two interventions, and what these cost."""
    own = {"evaluation": "causal-1", "source_layer": 2, "leap": 2, "target_layer": 4, "operator": "ridge-2-4"}
    losses = [
        row(
            "causal_perplexity",
            **own,
            intervention=name,
            positions=where,
            sequence_id=sequence,
            document=sequence,
            log_ppl=loss + sequence,
            n_edited=edited,
            kl=kl,
            log_ppl_edited_onwards=loss if edited else None,
        )
        for name, where, loss, edited, kl in (("none", "", 3.0, 0, None), ("transport", "1,2", 3.5, 2, 0.2))
        for sequence in (2, 3)
    ]
    own.pop("operator")
    effects = [
        row(
            "causal_effects",
            **own,
            intervention=name,
            positions=where,
            n_sequences=2,
            n_documents=2,
            log_ppl=loss,
            delta_log_ppl=loss - 5.5,
            delta_log_ppl_low=loss - 5.6,
            delta_log_ppl_high=loss - 5.4,
        )
        for name, where, loss in (("none", "", 5.5), ("transport", "1,2", 6.0))
    ]
    return {"causal_perplexity": losses, "causal_effects": effects}


def write(warehouse: Warehouse, tables: Mapping[str, Sequence[Mapping[str, Any]]], part: str = "k") -> list[FileRecord]:
    """Write rows a table, in one file for each value of its partition columns behind the collection."""
    files = []
    for name, rows in tables.items():
        extra = TABLES[name].partition[1:]
        for values in sorted({tuple(r[e] for e in extra) for r in rows}):
            own = [r for r in rows if tuple(r[e] for e in extra) == values]
            files.append(warehouse.write_rows(name, own, part, collection=COLLECTION, **dict(zip(extra, values))))
    return files


def write_activations(warehouse: Warehouse) -> list[FileRecord]:
    """Write the activations of both layers."""
    columns = {layer: activation_columns(residuals(layer)) for layer in LAYERS}
    return [
        warehouse.write_rows("activations", c, "k", collection=COLLECTION, layer=layer) for layer, c in columns.items()
    ]


def commit_stage(
    warehouse: Warehouse, stage: str, files: Sequence[FileRecord], *, key: str | None = None, quality: str = PASSED
) -> None:
    """Write the manifest of a stage whose key is ``<stage>-1``, one minute after the one before it."""
    order = ("collect", "saes", "features", "feature_scores", "explain", "operators", "evaluate", "causal").index(stage)
    commit(
        warehouse,
        stage,
        key or f"{stage}-1",
        collection=COLLECTION,
        settings={},
        files=files,
        quality=quality,
        started_at=STARTED + timedelta(minutes=order),
        seconds=2.0,
    )


def build(root: Path) -> Warehouse:
    """The whole small warehouse, all stages committed."""
    warehouse = Warehouse(root)
    rows = analysis_rows() | feature_rows() | causal_rows()
    stages = {
        "saes": ("saes", "sae_training"),
        "features": ("feature_stats",),
        "feature_scores": ("feature_scores", "feature_examples"),
        "explain": ("explanations",),
        "operators": ("operators", "operator_cv", "operator_spectra"),
        "evaluate": (
            "feature_transport",
            "efficiency",
            "canonical_correlations",
            "subspaces",
            "compositions",
            "scaling",
        ),
        "causal": ("causal_perplexity", "causal_effects"),
    }
    collected = write(warehouse, collect_rows()) + write_activations(warehouse) + write(warehouse, attended_rows())
    commit_stage(warehouse, "collect", collected)
    for stage, tables in stages.items():
        commit_stage(warehouse, stage, write(warehouse, {t: rows[t] for t in tables}))
    return warehouse


def warehouse_of(root, **tables):
    """A warehouse whose stage `evaluate` has committed rows of these tables."""
    warehouse = Warehouse(root)
    commit_stage(warehouse, "evaluate", write(warehouse, tables))
    return warehouse
