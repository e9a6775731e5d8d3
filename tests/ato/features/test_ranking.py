"""The composite score and the selection equal a plain computation by hand."""

import numpy as np
import pytest

from ato.errors import InputError
from ato.features.ranking import (
    PRE_WEIGHTS,
    WEIGHTS,
    best_features,
    composite,
    min_max,
    normalised_components,
    rank_features,
)


def test_composite_is_the_weighted_sum_of_min_max_components():
    rng = np.random.default_rng(4)
    raw = {name: rng.uniform(size=12) for name in ("token_entropy", "focus_z", "redundancy", "deadness")}
    causal = rng.normal(size=12)
    for values in (*raw.values(), causal):
        values[7] = np.nan  # silent
    raw["redundancy"][2] = np.nan  # constant, yet active
    causal[[0, 1]] = np.nan  # not ablated
    found = normalised_components(**raw, causal_effect=causal)

    def scaled(x: np.ndarray) -> np.ndarray:
        return (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x))

    e, z, r, d = (scaled(raw[name]) for name in ("token_entropy", "focus_z", "redundancy", "deadness"))
    r[2] = 0
    np.testing.assert_allclose(composite(found, PRE_WEIGHTS), 0.40 * (1 - e) + 0.35 * z - 0.15 * r - 0.10 * d)
    c = scaled(np.maximum(causal, 0))
    np.testing.assert_allclose(composite(found, WEIGHTS), 0.35 * (1 - e) + 0.25 * z + 0.30 * c - 0.07 * r - 0.03 * d)
    without = normalised_components(**raw)
    np.testing.assert_allclose(composite(without, WEIGHTS), 0.35 * (1 - e) + 0.25 * z - 0.07 * r - 0.03 * d)


def test_equal_values_are_scaled_to_zero_and_missing_ones_stay_missing():
    np.testing.assert_array_equal(min_max(np.array([2.0, np.nan, 2.0])), [0, np.nan, 0])
    assert np.isnan(min_max(np.full(3, np.nan))).all()


def test_selection_takes_the_integer_share_of_all_features_and_never_one_without_a_score():
    score = np.array([0.1, np.nan, 0.9, 0.9, 0.3, np.nan, 0.2, 0.0, -1.0, 0.5])
    assert best_features(score, 39.9).tolist() == [2, 3, 9]
    assert best_features(score, 0.1).tolist() == [2]
    assert best_features(score, 100).tolist() == [2, 3, 9, 4, 6, 0, 7, 8]
    assert best_features(np.full(3, np.nan), 100).tolist() == []
    with pytest.raises(InputError):
        best_features(score, 0)


def test_only_candidates_have_a_score_and_a_rank():
    e = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    flat = np.where(np.isnan(e), np.nan, 0.5)
    components = normalised_components(token_entropy=e, focus_z=flat, redundancy=flat, deadness=flat)
    ranking = rank_features(components, np.array([2, 1]), 40.0)
    assert np.isnan(ranking.score[[0, 3, 4]]).all()
    assert ranking.rank.tolist() == [0, 1, 2, 0, 0]
    assert ranking.selected.tolist() == [1, 2]


def test_a_component_that_no_feature_has_is_left_out_and_no_component_is_no_score():
    some = np.array([0.0, 0.5, np.nan])
    found = composite({"coherence": some, "focus": np.full(3, np.nan)}, {"coherence": 2.0, "focus": 1.0, "causal": 3.0})
    np.testing.assert_array_equal(found, 2 * some)
    assert np.isnan(composite({"focus": np.full(3, np.nan)}, WEIGHTS)).all()


def test_scaling_is_blind_to_unit_and_origin():
    values = np.random.default_rng(0).normal(size=20)
    np.testing.assert_allclose(min_max(values), min_max(3 * values - 7), atol=1e-12)
    assert (min_max(values).min(), min_max(values).max()) == (0, 1)
