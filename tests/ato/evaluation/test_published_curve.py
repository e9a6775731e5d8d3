"""The published numbers, made from moments, against the released code's formulas written out on tokens."""

from dataclasses import dataclass

import numpy as np
import pytest

from ato.errors import InputError
from ato.evaluation.ceilings import CanonicalModes
from ato.evaluation.published_curve import PublishedCurve, published_curve
from ato.moments import Moments

N_TRAIN = 400


@dataclass(frozen=True)
class Affine:
    matrix: np.ndarray
    bias: np.ndarray


class Case:
    """Tokens far from 0 on scales that differ, test tokens whose mean has moved, and the ridge map of train."""

    def __init__(self, d_in: int, d_out: int, seed: int = 0, offset: float = 9.0):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((600, d_in)) @ rng.standard_normal((d_in, d_in)) * np.logspace(0, 2, d_in) + offset
        noise = 30 * rng.standard_normal((600, d_out)) * np.logspace(1, -1, d_out)
        self.x, self.y = x, x @ rng.standard_normal((d_in, d_out)) + noise + offset * np.arange(d_out)
        self.y[N_TRAIN:] += 0.3 * self.y.std(0)

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x[:N_TRAIN], self.y[:N_TRAIN]

    @property
    def operator(self) -> Affine:
        x, y = (a - a.mean(0) for a in self.train)
        matrix = np.linalg.solve(x.T @ x + 50 * np.eye(x.shape[1]), x.T @ y).T
        return Affine(matrix, self.y[:N_TRAIN].mean(0) - matrix @ self.x[:N_TRAIN].mean(0))

    def curve(self, ranks: list[int], operator: Affine | None = None) -> PublishedCurve:
        group = np.where(np.arange(600) < N_TRAIN, np.arange(600) % 5, 6)
        moments = Moments([(3, 4)]).update({3: self.x, 4: self.y}, group=group)
        modes = CanonicalModes.from_moments(moments, 3, 4)
        return published_curve(operator or self.operator, moments, 3, 4, ranks, modes)


def inverse_root(second: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(second)
    return vectors @ np.diag(np.maximum(values, 1e-12) ** -0.5) @ vectors.T


def published_ceiling(case: Case) -> tuple[np.ndarray, int]:
    """Canonical correlations on train, centred, and the width that their squares are divided by."""
    x, y = (a - a.mean(0) for a in case.train)
    n = len(x)
    whitened = inverse_root(y.T @ y / n) @ (y.T @ x / n) @ inverse_root(x.T @ x / n)
    return np.linalg.svd(whitened, compute_uv=False), x.shape[1]


def published_r2(case: Case, operator: Affine, rank: int) -> float:
    """Truncated SVD, the bias recalibrated on train in the centred whitened metric, the score in the uncentred one."""
    x_train, y_train = case.train
    left, singular, right = np.linalg.svd(operator.matrix, full_matrices=False)
    truncated = left[:, :rank] @ np.diag(singular[:rank]) @ right[:rank]
    mean = y_train.mean(0)
    centred = inverse_root((y_train - mean).T @ (y_train - mean) / N_TRAIN)
    error_train = (y_train - (x_train @ truncated.T + operator.bias)) @ centred
    recalibration = error_train.mean(0) @ np.linalg.inv(centred)
    uncentred = inverse_root(y_train.T @ y_train / N_TRAIN)
    predicted = case.x[N_TRAIN:] @ truncated.T + operator.bias + recalibration
    error, about = (case.y[N_TRAIN:] - predicted) @ uncentred, (case.y[N_TRAIN:] - mean) @ uncentred
    return 1 - np.linalg.norm(error) ** 2 / np.linalg.norm(about) ** 2


@pytest.mark.parametrize(("d_in", "d_out"), [(6, 6), (4, 7), (7, 4)])
def test_r2_ceiling_and_efficiency_of_every_rank_are_those_of_the_released_code(d_in, d_out):
    case, ranks = Case(d_in, d_out), [1, 2, 3, 4, 100]
    curve = case.curve(ranks)
    rho, width = published_ceiling(case)
    assert list(curve.r2) == ranks
    for rank in ranks:
        r2, ceiling = published_r2(case, case.operator, rank), np.sum(rho[:rank] ** 2) / width
        assert curve.r2[rank] == pytest.approx(r2, abs=1e-8)
        assert curve.ceiling(rank) == pytest.approx(ceiling, abs=1e-8)
        assert curve.efficiency(rank) == pytest.approx(r2 / ceiling, abs=1e-8)
    assert curve.sizes.participation == pytest.approx(rho.sum() ** 2 / np.sum(rho**2), abs=1e-8)
    gains = np.cumsum(rho**2)
    assert curve.sizes.rank_90 == int(np.argmax(gains >= 0.9 * gains[-1])) + 1


def test_directions_without_variance_are_raised_to_the_released_codes_floor():
    case = Case(6, 6)
    case.x[:, 2] = case.x[:, 5]  # no inverse without the floor
    case.y[:, 1] = 3.0  # constant, far from 0
    case.y[:, 4] = 0.0
    curve = case.curve([1, 3, 6])
    rho, width = published_ceiling(case)
    for rank in (1, 3, 6):
        assert curve.ceiling(rank) == pytest.approx(
            np.sum(rho[:rank] ** 2) / width, abs=1e-7
        )  # of 6, not of the 4 that vary
        assert curve.r2[rank] == pytest.approx(published_r2(case, case.operator, rank), abs=1e-7)


def test_the_uncentred_metric_and_the_train_mean_are_what_differs_from_the_plain_columns():
    case = Case(6, 6, offset=0.0)
    case.y -= case.y[:N_TRAIN].mean(0)
    case.y[N_TRAIN:] -= case.y[N_TRAIN:].mean(0)
    x, y = (a[N_TRAIN:] for a in (case.x - case.x[:N_TRAIN].mean(0), case.y))
    metric = inverse_root(np.cov(case.y[:N_TRAIN].T, bias=True))
    centred = 1 - np.sum(((y - x @ case.operator.matrix.T) @ metric) ** 2) / np.sum((y @ metric) ** 2)
    assert case.curve([6]).r2[6] == pytest.approx(centred, abs=1e-8)  # with means of 0 nothing does
    moved = Case(6, 6)
    assert abs(moved.curve([6]).r2[6] - centred) > 0.01


def test_a_ceiling_of_zero_gives_no_efficiency():
    case = Case(4, 4)
    curve = case.curve([1])
    assert PublishedCurve(np.zeros(4), 4, curve.r2).efficiency(1) is None
    assert PublishedCurve(curve.rho, 4, {1: None}).efficiency(1) is None


def test_a_rank_below_one_is_refused():
    with pytest.raises(InputError, match="rank 0"):
        Case(4, 4).curve([0])
