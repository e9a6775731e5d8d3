"""What comparing the features of two layers gives: a match by each measure, and how far the measures agree."""

from dataclasses import dataclass

import numpy as np

from ato.errors import SettingsError
from ato.numerics.intervals import Estimate, EstimateArray
from ato.sae_studies.matches import DirectionMatch


@dataclass(frozen=True)
class FamilySettings:
    """What counts as high and low.

    Raises:
        SettingsError: a limit beyond 0 to 1.
    """

    high_cosine: float = 0.9
    """Decoder cosine from which two features look like one."""
    low_agreement: float = 0.5
    """Jaccard index of active tokens below which they do not act as one."""
    seed: int = 0
    """Of the random partners."""

    def __post_init__(self) -> None:
        for name in ("high_cosine", "low_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name):g}", cure="choose from 0 to 1")


@dataclass(frozen=True)
class FamilyMatch:
    """One source feature for each target feature, arrays [target features]; NaN where a feature is never active."""

    direction: DirectionMatch
    n_active_source: np.ndarray
    """int64, tokens on which the source feature is active."""
    n_both: np.ndarray
    """int64, tokens on which both are."""
    agreement: EstimateArray
    """Jaccard index of their active tokens, by document."""
    agreement_by_chance: np.ndarray
    """The same of independent firing at their rates: pq / (p + q - pq)."""
    correlation: EstimateArray
    """Pearson's, of their activations over all tokens, zeros included."""
    r2: EstimateArray
    """Share of the variance of the target's projection (y - b_dec).u over all tokens that a straight line in the source's
    activation explains, fitted on these tokens."""


@dataclass(frozen=True)
class FamilySummary:
    """How far weights and activations agree, over the target features with both numbers."""

    n_features: int
    median_cosine: float
    """Of the best decoder cosines."""
    median_transport_cosine: float
    """Of the best cosines of transported directions."""
    median_agreement: Estimate
    """Of the matches by decoder cosine."""
    median_agreement_transport: Estimate
    """Of the matches by transport."""
    median_agreement_random: Estimate
    """Of random partners: the null."""
    n_high_cosine: int
    share_disagreeing: Estimate
    """Share of the matches of high cosine whose agreement is low; None of none."""
    rank_correlation: Estimate
    """Spearman's, of decoder cosine and agreement over the features."""
    rank_correlation_transport: Estimate
    """The same of transport cosine and agreement, of the matches by transport."""


@dataclass(frozen=True)
class FeatureFamilies:
    """The features of a target SAE with those of a source SAE."""

    feature_id: np.ndarray
    """[target features] int32."""
    n_tokens: int
    n_documents: int
    n_active: np.ndarray
    """[target features] int64."""
    n_documents_active: np.ndarray
    """[target features] int64."""
    matches: dict[str, FamilyMatch]
    """``cosine``, ``transport`` and ``random`` -> the match, see ``direction_matches``."""
    best_feature: np.ndarray
    """[target features] int64, source feature with the largest agreement of all, the first of equal ones; -1 of none."""
    best_agreement: np.ndarray
    """[target features] that agreement: what neither cosine nor transport can exceed; chosen on these tokens."""
    disagrees: np.ndarray
    """[target features] bool: the best decoder cosine is high, the agreement of that pair is low."""
    summary: FamilySummary
    reason: np.ndarray
    """[target features] why numbers are missing, one clause; None where none is."""
