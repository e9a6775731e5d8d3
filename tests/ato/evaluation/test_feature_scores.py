"""The formulas of scores on features, on sums whose scores are known."""

import numpy as np
import torch

from ato.evaluation.active_projections import Projections
from ato.evaluation.feature_scores import R2Sums, point_scores, r2
from ato.evaluation.feature_sums import FeatureSums, sums_of_tokens
from ato.saes import ActiveFeatures

N = 50


def sums_of(a: np.ndarray, p: np.ndarray, shift: float = 0.0) -> FeatureSums:
    """Sums of one feature, active on every token, and one operator; the source residual projects on 0."""
    stacked = torch.from_numpy(np.stack([a, p]))
    found = Projections(stacked[0], torch.zeros(1, N, dtype=torch.float64), stacked[1:], stacked)
    active = ActiveFeatures(N, torch.arange(N), torch.zeros(N, dtype=torch.int64), torch.ones(N))
    return sums_of_tokens(found, active, torch.zeros(N, dtype=torch.int64), 1, torch.tensor([shift]).double()).totals()


def scores_of(a: np.ndarray, p: np.ndarray, shift: float = 0.0) -> dict[str, float]:
    scores = point_scores(sums_of(a, p, shift), 0, 0, np.array([shift]), np.array([[1.0], [2.0]]))
    return {name: float(values[0]) for name, values in scores.items()}


def test_a_perfect_prediction_has_perfect_scores_wherever_zero_is():
    a = np.random.default_rng(0).normal(size=N)
    for shift in (0.0, 40.0):
        scores = scores_of(a, a.copy(), shift)
        for name in ("r2", "skill", "pearson", "calibration", "rms_ratio", "mean_abs_ratio", "mean_ratio"):
            assert np.isclose(scores[name], 1), name
        assert scores["mse"] == scores["mean_relative_error"] == scores["mean_squared_log_ratio"] == 0
        assert scores["mad_ratio"] == 2  # of the deviations that were handed in


def test_twice_the_truth_is_told_from_it_by_every_ratio():
    a = np.random.default_rng(1).normal(size=N) + 3
    scores = scores_of(a, 2 * a)
    assert np.isclose(scores["pearson"], 1)
    assert np.isclose([scores["rms_ratio"], scores["mean_abs_ratio"], scores["mean_ratio"]], 2).all()
    assert np.isclose(scores["mean_squared_log_ratio"], np.log(2) ** 2)
    assert np.isclose(scores["mean_relative_error"], 1)
    assert np.isclose(scores["skill"], 0)


def test_the_mean_scores_zero_and_a_constant_truth_nothing():
    a = np.random.default_rng(2).normal(size=N)
    assert np.isclose(scores_of(a, np.full(N, a.mean()))["r2"], 0)
    assert np.isnan(scores_of(np.full(N, 0.1), a)["r2"])


def test_r2_of_sums_with_an_axis_before_is_that_of_the_point():
    a, p = np.random.default_rng(3).normal(size=(2, N))
    groups = sums_of(a, p).by_group
    resample = R2Sums(*(x[None] for x in (groups.n, groups.a, groups.aa)), groups.sse[None])
    assert np.isclose(r2(resample)[0, 0, 0], scores_of(a, p)["r2"])
