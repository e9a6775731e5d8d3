"""The composite score of features: components are normalised, weighted and summed; the best are selected."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError

PRE_WEIGHTS = {"coherence": 0.40, "focus": 0.35, "redundancy": -0.15, "deadness": -0.10}
"""Weights of the pre-score, which chooses the candidates for ablation."""
WEIGHTS = {"coherence": 0.35, "focus": 0.25, "causal": 0.30, "redundancy": -0.07, "deadness": -0.03}
"""Weights of the score."""


@dataclass(frozen=True)
class FeatureRanking:
    """Scores of all features and what is selected by them."""

    score: np.ndarray
    """[d_sae]; NaN for a feature that is no candidate or lacks a component."""
    rank: np.ndarray
    """[d_sae] int64, place by score from 1; 0 without a score."""
    selected: np.ndarray
    """[s] int64, the selected features, best first."""


def min_max(values: np.ndarray) -> np.ndarray:
    """Values [d] scaled to [0, 1] over those that are not NaN; 0 where all are equal, NaN stays NaN."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), np.nan)
    low, high = values[known].min(), values[known].max()
    return np.where(known, (values - low) / (high - low) if high > low else 0.0, np.nan)


def normalised_components(
    *,
    token_entropy: np.ndarray,
    focus_z: np.ndarray,
    redundancy: np.ndarray,
    deadness: np.ndarray,
    causal_effect: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The components of the scores, each min-max normalised [d_sae] over the features that have it.

    Only features that were active take part: a silent feature has no component, and its deadness of 1 does not set
    the scale. ``coherence`` is 1 - min-max of the token entropy; ``focus`` that of ``focus_z``; ``causal`` that of
    the effect where a fall of the loss counts as no effect (as in the study), over the features that were ablated.
    A feature that no other one varies with (NaN redundancy) has no redundancy to be penalised for.
    """
    active = np.isfinite(token_entropy)
    redundancy = min_max(np.where(active, redundancy, np.nan))
    components = {
        "coherence": 1 - min_max(token_entropy),
        "focus": min_max(np.where(active, focus_z, np.nan)),
        "redundancy": np.where(active, np.nan_to_num(redundancy), np.nan),
        "deadness": min_max(np.where(active, deadness, np.nan)),
    }
    if causal_effect is not None:
        components["causal"] = min_max(np.where(active, np.maximum(causal_effect, 0.0), np.nan))
    return components


def composite(components: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Weighted sum [d_sae] of normalised components; NaN for a feature that lacks one.

    A component that no feature has (focus of an SAE that does not write into the residual stream, causal effect of
    one that is not ablated) is left out of the sum.
    """
    present = [name for name in weights if name in components and np.isfinite(components[name]).any()]
    if not present:
        return np.full(len(next(iter(components.values()))), np.nan)
    return np.sum([weights[name] * components[name] for name in present], axis=0)


def best_features(score: np.ndarray, percent: float) -> np.ndarray:
    """Features with the largest score, best first: int(percent / 100 * d_sae) of them, at least 1.

    Features without a score (NaN) are never among them; of equal scores the smaller feature id comes first.

    Raises:
        InputError: the percentage is not between 0 and 100.
    """
    if not 0 < percent <= 100:
        raise InputError(f"cannot select {percent} % of the features", cure="use more than 0 and at most 100")
    order = np.argsort(-score, kind="stable")  # NaN is sorted behind all numbers
    return order[: min(max(1, int(percent / 100 * len(score))), int(np.isfinite(score).sum()))]


def rank_features(components: Mapping[str, np.ndarray], candidates: np.ndarray, top_percent: float) -> FeatureRanking:
    """Scores of the candidates, their ranks, and the best ``top_percent`` of all features.

    Args:
        components: as ``normalised_components`` gives them.
        candidates: [c] features that were ablated: the others have no score.
        top_percent: share of all d_sae features.
    """
    whole = composite(components, WEIGHTS)
    score = np.full(len(whole), np.nan)
    score[candidates] = whole[candidates]
    order = best_features(score, 100.0)
    rank = np.zeros(len(score), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return FeatureRanking(score, rank, best_features(score, top_percent))
