"""The windows of features read back from ``example_windows``, as what a judge is shown."""

from collections.abc import Sequence
from typing import Any

from ato.autointerp.excerpts import FeatureEvidence
from ato.features.excerpts import Excerpt, Origin
from tasks.label.label_rows import SPLITS, WindowNumbers
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

_WINDOWS = """select feature_id, window_id, kind, tier, corpus, document, sequence_id, position, start, split, stratum,
    tokens, activations
from example_windows
where collection = ? and evidence = ? and list_contains(?, feature_id)
order by feature_id, activation desc, window_id"""
_PROMOTED = """select feature_id, promoted from labelled_features
where collection = ? and evidence = ? and list_contains(?, feature_id)"""
_WORDS = {table: word for word, table in SPLITS.items()}


def read_evidence(
    warehouse: Warehouse, collection: str, evidence: str, features: Sequence[int]
) -> tuple[list[FeatureEvidence], WindowNumbers]:
    """What is shown of some features, in their order, and the numbers of the windows.

    A window that was chosen twice, as one of the strongest and at random, is shown once.
    """
    key = [collection, evidence, list(features)]
    promoted = {row["feature_id"]: tuple(row["promoted"]) for row in rows(warehouse, _PROMOTED, key)}
    windows: dict[int, list[tuple[dict[str, Any], Excerpt]]] = {feature: [] for feature in features}
    for row in rows(warehouse, _WINDOWS, key):
        windows[row["feature_id"]].append((row, _excerpt(row)))
    numbered = {feature: [(one, row["window_id"]) for row, one in found] for feature, found in windows.items()}
    found = [_evidence(feature, windows[feature], promoted[feature]) for feature in features]
    return found, WindowNumbers(numbered)


def _excerpt(row: dict[str, Any]) -> Excerpt:
    origin = Origin(
        corpus=row["corpus"],
        document=row["document"],
        sequence=row["sequence_id"],
        position=row["position"],
        start=row["start"],
        split=_WORDS[row["split"]],
        stratum=row["stratum"],
    )
    return Excerpt(tuple(row["tokens"]), tuple(row["activations"]), origin)


def _evidence(
    feature: int, windows: Sequence[tuple[dict[str, Any], Excerpt]], promoted: tuple[str, ...]
) -> FeatureEvidence:
    examples: dict[tuple[int, int], Excerpt] = {}
    positives: dict[tuple[int, int], Excerpt] = {}
    negatives: dict[str, list[Excerpt]] = {}
    for row, excerpt in windows:
        if row["tier"] is not None:
            negatives.setdefault(row["tier"], []).append(excerpt)
        else:
            kept = examples if row["split"] == "train" else positives
            kept.setdefault((row["sequence_id"], row["position"]), excerpt)
    return FeatureEvidence(
        feature,
        tuple(examples.values()),
        tuple(positives.values()),
        {tier: tuple(found) for tier, found in sorted(negatives.items())},
        promoted,
    )
