"""Averages over features, shares of verdicts and differences between operators, as rows of two tables."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ato.evaluation.feature_averages import FeatureAverages
from tasks.engine.columns import estimate_columns
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from warehouse.catalog.lookups import selected_features

ALL, SELECTED = "all", "selected"


def choices(study: Study, sae: str, d_sae: int) -> dict[str, np.ndarray]:
    """The features of an SAE that are averaged over, [d_sae] bool: all, and those selected where they were scored."""
    chosen = selected_features(study.warehouse, study.collection, sae)
    masks = {ALL: np.ones(d_sae, dtype=bool)}
    if len(chosen):
        masks[SELECTED] = np.isin(np.arange(d_sae), chosen)
    return masks


def average_rows(
    pair: PairStage, found: Mapping[str, FeatureAverages], operators: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of ``feature_transport_averages`` beside the keys of the stage.

    Args:
        pair: whose operators they are.
        found: choice of features -> averages under all operators that end at the SAE.
        operators: keys of these, in order.
    """
    rows = []
    for features, of in found.items():
        statistics = {"mean_r2": of.mean_r2} | {f"share_{verdict}": share for verdict, share in of.shares.items()}
        for method in pair.methods:
            i = operators.index(pair.operator_key(method))
            rows += [
                {
                    **_keys(pair, method, features, of),
                    "statistic": name,
                    **estimate_columns(value=estimates[i]),
                }
                for name, estimates in statistics.items()
            ]
    return rows


def difference_rows(
    pair: PairStage, found: Mapping[str, FeatureAverages], operators: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of ``feature_transport_differences``: every method against the identity, then each two others once."""
    others = [method for method in pair.methods if method != "identity"]
    compared = [(method, "identity") for method in others if "identity" in pair.methods]
    compared += list(combinations(others, 2))
    rows = []
    for features, of in found.items():
        for method, against in compared:
            i, j = (operators.index(pair.operator_key(name)) for name in (method, against))
            rows.append(
                {
                    **_keys(pair, method, features, of),
                    "against": pair.operator_key(against),
                    "against_method": against,
                    **estimate_columns(difference=of.differences[i, j]),
                }
            )
    return rows


def _keys(pair: PairStage, method: str, features: str, of: FeatureAverages) -> dict[str, Any]:
    return {
        "operator": pair.operator_key(method),
        **pair.policy_columns,
        "method": method,
        "features": features,
        "n_features": of.n_features,
        "n_documents": of.n_documents,
    }
