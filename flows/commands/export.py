"""``ato export``: feature scores as JSON files in the format of the study's repository, and residuals as arrays."""

import json
from pathlib import Path
from typing import Any

from ato.errors import InputError
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import CollectionRow, collection_row
from warehouse.datasets.entity_residuals import export_entity_residuals
from warehouse.storage.warehouse import Warehouse

__all__ = ["export_entity_residuals", "export_feature_scores"]

COMPONENTS = (
    "score",
    "rank",
    "pre_score",
    "candidate",
    "selected",
    "n_active",
    "n_documents_active",
    "activation_rate",
    "mean_activation",
    "max_activation",
    "n_top",
    "token_entropy",
    "focus_z",
    "focus_entropy",
    "redundancy",
    "redundant_with",
    "deadness",
    "causal_effect",
    "causal_effect_low",
    "causal_effect_high",
    "n_ablated",
    "n_ablated_documents",
)
"""Components of ``scores`` for each feature; null where there is no value."""


def export_feature_scores(collection: str, folder: str | Path, layer: int | None = None) -> list[Path]:
    """Write the latest feature scores of a collection, one file per SAE: ``feature_scores_{layer}.json``.

    Each holds ``high_quality_feature_ids`` (the selected features, best first), ``scores`` (feature id -> all
    components) and ``meta`` (settings, model, SAE, number of tokens, hashes). If a layer has several SAEs, the SAE's key
    is appended to the name.

    Args:
        collection: key of the collection.
        folder: created if it is missing.
        layer: only the SAEs of this layer.

    Raises:
        InputError: no such collection, or no feature scores (of that layer).
    """
    warehouse = Warehouse()
    row = collection_row(warehouse, collection)
    scorings = [s for s in _latest_scorings(warehouse, collection) if layer in (None, s["layer"])]
    if not scorings:
        raise InputError(
            "no feature scores" if layer is None else f"no feature scores of layer {layer}",
            where=collection,
            cure="run `ato run features` with features.score=true first",
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    layers = [s["layer"] for s in scorings]
    paths = []
    for scoring in scorings:
        several = layers.count(scoring["layer"]) > 1
        path = folder / f"feature_scores_{scoring['layer']}{'_' + scoring['sae'] if several else ''}.json"
        path.write_text(json.dumps(_content(warehouse, row, scoring), indent=1), encoding="utf-8")
        paths.append(path)
    return paths


def _latest_scorings(warehouse: Warehouse, collection: str) -> list[dict[str, Any]]:
    """The latest scoring of every SAE of a collection, joined with the SAE's row, by layer."""
    return rows(
        warehouse,
        """select s.*, l.evaluation as scoring, r.settings
        from latest_evaluations as l
        inner join saes as s using (collection, sae)
        inner join stage_runs as r on r.stage = l.kind and r.key = l.evaluation
        where l.kind = 'feature_scores' and l.is_latest and l.collection = ?
        order by s.layer, s.sae""",
        [collection],
    )


def _content(warehouse: Warehouse, collection: CollectionRow, scoring: dict[str, Any]) -> dict[str, Any]:
    found = rows(
        warehouse,
        f"""select feature_id, n_tokens, {", ".join(COMPONENTS)} from feature_scores
        where collection = ? and scoring = ? order by feature_id""",
        [scoring["collection"], scoring["scoring"]],
    )
    selected = sorted((row for row in found if row["selected"]), key=lambda row: row["rank"])
    return {
        "high_quality_feature_ids": [row["feature_id"] for row in selected],
        "scores": {str(row["feature_id"]): {name: row[name] for name in COMPONENTS} for row in found},
        "meta": {
            "model_name": collection.model,
            "model_revision": collection.revision,
            "model_weights_hash": collection.weights_hash,
            "collection": scoring["collection"],
            "corpus": collection.corpus,
            "corpus_hash": collection.corpus_hash,
            "sae": scoring["sae"],
            "sae_path": scoring["source"],
            "sae_weights_hash": scoring["weights_hash"],
            "architecture": scoring["architecture"],
            "d_sae": scoring["d_sae"],
            "hook_layer": scoring["layer"],
            "hook_stream": scoring["site"],
            "scoring": scoring["scoring"],
            "eval_tokens": found[0]["n_tokens"],
            "candidate_features": [
                row["feature_id"]
                for row in sorted(
                    (r for r in found if r["candidate"]), key=lambda r: (-r["pre_score"], r["feature_id"])
                )
            ],
            "settings": json.loads(scoring["settings"]),
        },
    }
