"""Held-out correlations, ceilings and reduced-rank R2 against direct computation on materialised rows."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from ato.errors import DataError, InputError, MismatchError
from ato.evaluation.ceilings import CanonicalModes, remeasured_correlations
from ato.evaluation.held_out_ceilings import ModeScores
from ato.evaluation.residual_moments import residual_scores_from_moments
from ato.moments import Moments
from ato.numerics.intervals import Estimate
from ato.operators.fitting import fit_operator_from_moments
from ato.residuals import MemorySource, run_pass

RHO = np.array([0.95, 0.8, 0.5, 0.2])


def planted(seed, n, d_in=6, d_out=8, rho=RHO):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d_in)), rng.standard_normal((n, d_out))
    y[:, : len(rho)] = rho * x[:, : len(rho)] + np.sqrt(1 - rho**2) * y[:, : len(rho)]
    mixing = np.random.default_rng(99)
    return x @ mixing.standard_normal((d_in, d_in)) + 3, y @ mixing.standard_normal((d_out, d_out)) - 5


def scored(modes, x, y, documents, block=70):
    scores = ModeScores(modes)
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        scores.update(torch.from_numpy(x[rows]), torch.from_numpy(y[rows]), documents[rows])
    return scores


def reduced_rank_r2(modes, x, y, rank):
    """Whitened R2 of the rank-r operator as a matrix, on rows."""
    white = modes.y_whitening.matrix
    back = np.linalg.pinv(white)[:rank] if rank < white.shape[1] else np.linalg.pinv(white)
    m = min(rank, len(modes.rho_in_sample))
    operator = (modes.x_directions[:, :m] * modes.rho_in_sample[:m]) @ back[:m]  # [d_in, d_out]
    error = (y - modes.mean_y - (x - modes.mean_x) @ operator) @ white
    return 1 - np.square(error).sum() / np.square((y - y.mean(0)) @ white).sum()


@pytest.fixture(scope="module")
def case():
    train, test = planted(0, 600), planted(1, 400)
    documents = np.random.default_rng(2).integers(-3, 30, 400)
    return CanonicalModes.from_arrays(*train), *test, documents


def test_all_ranks_equal_direct_computation_on_held_out_rows(case):
    modes, x, y, documents = case
    scores = scored(modes, x, y, documents)
    rho = remeasured_correlations(modes, x, y)
    np.testing.assert_allclose(scores.rho_held_out, rho, atol=1e-10)
    assert modes.d_kept == 8 > len(rho)
    for rank in (1, 2, 4, 6, 8, 100):
        assert scores.ceiling_held_out(rank) == pytest.approx(np.square(rho[:rank]).sum() / 8, abs=1e-10)
        assert scores.r2_rrr(rank) == pytest.approx(reduced_rank_r2(modes, x, y, rank), abs=1e-10)
        assert scores.efficiency(rank) == pytest.approx(scores.r2_rrr(rank) / scores.ceiling_held_out(rank))


def test_in_sample_the_reduced_rank_operator_attains_the_ceiling_of_every_rank():
    x, y = planted(0, 300)
    modes = CanonicalModes.from_arrays(x, y)
    scores = scored(modes, x, y, np.arange(300) // 10)
    for rank in range(1, 9):
        assert scores.r2_rrr(rank) == pytest.approx(modes.ceiling(rank), abs=1e-9)
        assert scores.efficiency(rank) == pytest.approx(1, abs=1e-9)


def test_r2_of_every_rank_is_that_of_the_reduced_rank_operator_fitted_from_moments():
    (x, y), (test_x, test_y) = planted(0, 600), planted(1, 400)
    moments = Moments([(0, 1)], n_folds=1).update({0: x, 1: y}, fold=0)
    moments.update({0: test_x, 1: test_y}, group=np.full(400, 2))
    scores = scored(CanonicalModes.from_moments(moments, 0, 1), test_x, test_y, np.arange(400))
    for rank in (1, 3, 6):
        fit = fit_operator_from_moments(moments, 0, 1, "rrr", alphas=[0.0], rank=rank)
        expected = residual_scores_from_moments(fit.operator, moments, 0, 1).r2_whitened.value
        assert scores.r2_rrr(rank) == pytest.approx(expected, abs=1e-8)


def test_float32_rows_with_means_of_300_sd_give_the_same_scores(case):
    modes, x, y, documents = case
    offset = 300 * np.abs(y).mean()
    moved = Moments([(0, 1)]).update({0: planted(0, 600)[0], 1: planted(0, 600)[1] + offset}, fold=0)
    scores = ModeScores(CanonicalModes.from_moments(moved, 0, 1))
    scores.update(torch.tensor(x, dtype=torch.float32), torch.tensor(y + offset, dtype=torch.float32), documents)
    for rank in (1, 4, 8):
        assert scores.r2_rrr(rank) == pytest.approx(reduced_rank_r2(modes, x, y, rank), abs=1e-3)


def test_limits_are_those_of_leaving_rows_of_a_document_out(case):
    modes, x, y, documents = case
    result = scored(modes, x, y, documents).result([2])
    numbers, k = np.unique(documents, return_counts=True)

    def scores(rows):
        ceiling = np.square(remeasured_correlations(modes, x[rows], y[rows])[:2]).sum() / 8
        r2 = reduced_rank_r2(modes, x[rows], y[rows], 2)
        return ceiling, r2, r2 / ceiling

    value, n = np.array(scores(documents == documents)), len(numbers)
    without = np.array([scores(documents != number) for number in numbers])
    error = np.sqrt((n - 1) / n * np.square(without - without.mean(0)).sum(0))
    middle = n * value - (n - 1) * without.mean(0)
    reach = student.ppf(0.975, k.sum() ** 2 / (k**2).sum() - 1) * error
    score = result.ranks[0]
    for i, name in enumerate(("ceiling_held_out", "r2_rrr", "efficiency")):
        found = getattr(score, name)
        assert found.low == pytest.approx(min(middle[i] - reach[i], value[i]), abs=1e-8)
        assert found.high == pytest.approx(max(middle[i] + reach[i], value[i]), abs=1e-8)
    assert (result.n, result.n_documents) == (400, n)


def test_copying_the_source_gives_efficiency_one_at_full_rank():
    x, _ = planted(3, 300)
    modes = CanonicalModes.from_arrays(x, x)
    scores = ModeScores(modes).update(*(torch.tensor(x, dtype=torch.float32),) * 2, np.arange(300) % 7)
    score = scores.result([6]).ranks[0]
    assert score.ceiling_in_sample == pytest.approx(1)
    for estimate in (score.ceiling_held_out, score.r2_rrr, score.efficiency):
        assert astuple(estimate) == pytest.approx((1, 1, 1), abs=1e-5)
    assert max(*astuple(score.ceiling_held_out), *astuple(score.r2_rrr)) <= 1


def test_the_curve_saturates_at_the_first_rank_with_95_percent_of_its_largest_value(case):
    modes, x, y, documents = case
    result = scored(modes, x, y, documents).result([1])
    curve = [reduced_rank_r2(modes, x, y, rank) for rank in range(1, 7)]
    assert result.rank_saturation == 1 + next(i for i, r2 in enumerate(curve) if r2 >= 0.95 * max(curve))
    assert 1 < result.rank_saturation < 6
    draw = np.random.default_rng(5).standard_normal
    unrelated = scored(CanonicalModes.from_arrays(*draw((2, 100, 8))), *draw((2, 3000, 8)), np.arange(3000) // 10)
    assert unrelated.result([1]).rank_saturation is None


def test_independent_rows_have_no_held_out_ceiling_and_no_positive_r2():
    rng = np.random.default_rng(4)
    draw = lambda n: rng.standard_normal((2, n, 30))  # noqa: E731
    modes = CanonicalModes.from_arrays(*draw(300))
    scores = scored(modes, *draw(3000), np.arange(3000) // 20)
    assert modes.ceiling(30) > 0.08
    assert scores.ceiling_held_out(30) < 0.002
    assert scores.r2_rrr(30) < 0


def test_block_order_changes_nothing_and_parts_merge(case):
    modes, x, y, documents = case
    whole = scored(modes, x, y, documents).result([1, 8])
    backward = scored(modes, x[::-1].copy(), y[::-1].copy(), documents[::-1], block=33).result([1, 8])
    parts = scored(modes, x[:150], y[:150], documents[:150]) + scored(modes, x[150:], y[150:], documents[150:])
    for other in (backward, parts.result([1, 8])):
        assert (other.n, other.n_documents) == (whole.n, whole.n_documents)
        for ours, theirs in zip(whole.ranks, other.ranks):
            for found, expected in zip(astuple(theirs), astuple(ours), strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-10)


def test_one_pass_over_a_source_reads_the_layers_of_the_modes():
    x, y = planted(0, 500)
    group = np.where(np.arange(500) < 400, 0, 6)
    source = MemorySource({2: torch.tensor(x), 5: torch.tensor(y)}, group=group, document=np.arange(500) // 9)
    moments = Moments([(2, 5)])
    run_pass(source, [moments])
    modes = CanonicalModes.from_moments(moments, 2, 5)
    scores = ModeScores(modes)
    assert run_pass(source, [scores], splits=["test"]) == scores.n == 100
    rho = remeasured_correlations(modes, x[400:], y[400:])
    np.testing.assert_allclose(scores.rho_held_out, rho, atol=1e-5)


def test_one_document_gives_scores_without_limits(case):
    modes, x, y, _ = case
    score = scored(modes, x, y, np.full(400, 12)).result([2]).ranks[0]
    for estimate in (score.ceiling_held_out, score.r2_rrr, score.efficiency):
        assert estimate.value is not None
        assert estimate.low is estimate.high is None


def test_tokens_without_variance_give_null_and_never_a_number(case):
    modes, x, y, _ = case
    result = scored(modes, x[:1], y[:1], np.zeros(1, dtype=int)).result([2])
    assert np.isnan(result.rho_held_out).all()
    assert result.ranks[0].r2_rrr == result.ranks[0].efficiency == Estimate(None)


def test_uses_that_cannot_be_meant_are_refused(case):
    modes, x, y, documents = case
    with pytest.raises(DataError, match="no held-out token"):
        ModeScores(modes).result([1])
    with pytest.raises(InputError, match="one row per token"):
        ModeScores(modes).update(torch.from_numpy(x), torch.from_numpy(y), documents[:5])
    with pytest.raises(MismatchError, match="different canonical modes"):
        ModeScores(modes) + ModeScores(CanonicalModes.from_arrays(x, y))
