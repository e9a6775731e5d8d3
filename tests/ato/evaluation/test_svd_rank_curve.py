"""The study's rank curve against the truncated maps themselves, on rows."""

from dataclasses import dataclass

import numpy as np
import pytest

from ato.errors import InputError
from ato.evaluation.ceilings import CanonicalModes
from ato.evaluation.residual_moments import residual_scores_from_moments
from ato.evaluation.svd_rank_curve import svd_rank_curve
from ato.moments import Moments

N_TRAIN = 400


@dataclass(frozen=True)
class Affine:
    matrix: np.ndarray
    bias: np.ndarray


def make_case(d_in, d_out, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((600, d_in)) @ rng.standard_normal((d_in, d_in)) * np.logspace(0, 2, d_in) + 9
    y = x @ rng.standard_normal((d_in, d_out)) + 30 * rng.standard_normal((600, d_out)) * np.logspace(1, -1, d_out)
    group = np.where(np.arange(600) < N_TRAIN, np.arange(600) % 5, 6)
    moments = Moments([(3, 4)]).update({3: x, 4: y}, group=group)
    centred_x, centred_y = (a[:N_TRAIN] - a[:N_TRAIN].mean(0) for a in (x, y))
    gram = centred_x.T @ centred_x + 50 * np.eye(d_in)
    matrix = np.linalg.solve(gram, centred_x.T @ centred_y).T
    return x, y, moments, Affine(matrix, y[:N_TRAIN].mean(0) - matrix @ x[:N_TRAIN].mean(0))


def truncated_r2(matrix, rank, x, y, rows):
    """Whitened R2 on rows of the truncated map with its bias re-fitted on train."""
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    truncated = left[:, :rank] * singular[:rank] @ right[:rank]
    error = (y - y[:N_TRAIN].mean(0)) - (x - x[:N_TRAIN].mean(0)) @ truncated.T
    metric = np.linalg.inv(np.cov(y[:N_TRAIN].T, bias=True))
    about_mean = y[rows] - y[rows].mean(0)
    return 1 - np.trace(error[rows] @ metric @ error[rows].T) / np.trace(about_mean @ metric @ about_mean.T)


@pytest.mark.parametrize(("d_in", "d_out"), [(6, 6), (4, 7), (7, 4)])
def test_all_ranks_equal_the_truncated_maps_scored_on_rows(d_in, d_out):
    x, y, moments, operator = make_case(d_in, d_out)
    ranks = [1, 2, 3, 4, 100]
    for group, rows in (("test", slice(N_TRAIN, None)), ("train", slice(N_TRAIN))):
        curve = svd_rank_curve(operator, moments, 3, 4, ranks, group=group)
        assert list(curve) == ranks
        for rank in ranks:
            assert curve[rank] == pytest.approx(truncated_r2(operator.matrix, rank, x, y, rows), abs=1e-7)


def test_the_full_rank_equals_the_whitened_score_of_the_operator():
    _, _, moments, operator = make_case(6, 6)
    expected = residual_scores_from_moments(operator, moments, 3, 4, "test").r2_whitened.value
    assert svd_rank_curve(operator, moments, 3, 4, [6])[6] == pytest.approx(expected, abs=1e-8)


def test_no_truncated_map_exceeds_the_ceiling_in_sample():
    _, _, moments, operator = make_case(8, 8)
    modes = CanonicalModes.from_moments(moments, 3, 4)
    curve = svd_rank_curve(operator, moments, 3, 4, range(1, 9), group="train")
    assert all(curve[rank] <= modes.ceiling(rank) + 1e-9 for rank in range(1, 9))
    # Truncation in raw coordinates loses most of what the rank allows when the scales of dimensions differ.
    assert curve[4] < 0.9 * modes.ceiling(4)


def test_full_rank_least_squares_attains_the_ceiling_as_the_ridge_vanishes():
    x, y, moments, _ = make_case(5, 5)
    x, y = x[:N_TRAIN] - x[:N_TRAIN].mean(0), y[:N_TRAIN] - y[:N_TRAIN].mean(0)
    modes = CanonicalModes.from_moments(moments, 3, 4)
    efficiency = []
    for alpha in (1e6, 1e3, 1e-6):
        matrix = np.linalg.solve(x.T @ x + alpha * np.eye(5), x.T @ y).T
        curve = svd_rank_curve(Affine(matrix, np.zeros(5)), moments, 3, 4, [5], group="train")
        efficiency.append(curve[5] / modes.ceiling(5))
    assert efficiency == sorted(efficiency)
    assert efficiency[-1] == pytest.approx(1, abs=1e-7)


def test_a_rank_below_one_is_refused():
    _, _, moments, operator = make_case(4, 4)
    with pytest.raises(InputError, match="rank 0"):
        svd_rank_curve(operator, moments, 3, 4, [0])
