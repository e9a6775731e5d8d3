"""Rows of the tables ``comparisons`` and ``feature_comparisons``."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.evaluation.feature_scores import FeatureScores
from ato.evaluation.paired_transport import PairedTransport
from ato.evaluation.verdicts import UNDETERMINED
from ato.operators import TransportOperator
from tasks.compare.stages import Comparison, Pair
from tasks.engine.columns import estimate_columns
from tasks.settings import CompareSettings
from warehouse.catalog.lookups import SAERow
from warehouse.storage.parquet import null_where_nan


@dataclass(frozen=True)
class Compared:
    """What came of one pair of layers and one SAE."""

    sae: SAERow
    pair: Pair
    paired: PairedTransport
    this: FeatureScores
    other: FeatureScores
    transferred: FeatureScores
    own_operator: TransportOperator
    their_operator: TransportOperator


def write_comparison(settings: CompareSettings, one: Comparison, found: Compared) -> int:
    """Write the rows of a pair and SAE into a comparison's stage; returns the number of features that changed."""
    own, theirs = next(both for both in one.pairs if both[0].layers == found.pair)
    paired, stage, method = found.paired, one.stage, settings.method
    keys = {
        "collection": stage.collection,
        "comparison": stage.key,
        "other_collection": one.other.collection,
        "other_model": one.label,
        "sae": found.sae.sae,
        **own.policy_columns,
        "method": method,
    }
    changed = paired.changed(false_discovery=settings.false_discovery, smallest=settings.smallest_change)
    decided = (found.this.verdict != UNDETERMINED) & (found.other.verdict != UNDETERMINED)
    flipped = decided & (found.this.verdict != found.other.verdict)
    part = f"{stage.key}-{own.slug}"
    row = {
        **keys,
        "operator": own.operator_key(method),
        "other_operator": theirs.operator_key(method),
        "n_features": paired.n_features,
        "n_documents": paired.n_documents,
        "n_changed": int(changed.sum()),
        "n_verdicts_changed": int(flipped.sum()),
        **estimate_columns(mean_difference=paired.mean_difference, mean_loss=paired.mean_loss),
        "relative_distance": relative_distance(found.own_operator, found.their_operator),
    }
    stage.write("comparisons", [row], part=part, sae=found.sae.sae)
    n = len(changed)
    scores = {
        "n_active": found.this.n_active,
        "other_n_active": found.other.n_active,
        "p": paired.p,
        "q": paired.q,
        "r2_transferred": found.transferred.r2.value,
        **estimate_columns(r2=found.this.r2, other_r2=found.other.r2, difference=paired.difference, loss=paired.loss),
    }
    columns: dict[str, Any] = {name: [value] * n for name, value in keys.items()} | {
        "feature_id": found.this.feature_id,
        "verdict": found.this.verdict,
        "other_verdict": found.other.verdict,
        "changed": [bool(one) if np.isfinite(q) else None for one, q in zip(changed, paired.q, strict=True)],
    }
    columns |= {
        name: null_where_nan(values) if values.dtype == np.float64 else values for name, values in scores.items()
    }
    stage.write(
        "feature_comparisons", {name: list(values) for name, values in columns.items()}, part=part, sae=found.sae.sae
    )
    return int(changed.sum())


def relative_distance(one: TransportOperator, two: TransportOperator) -> float | None:
    """|T_2 - T_1| / |T_1|, Frobenius; None where T_1 is 0."""
    size = float(np.linalg.norm(one.matrix))
    return float(np.linalg.norm(two.matrix - one.matrix)) / size if size else None
