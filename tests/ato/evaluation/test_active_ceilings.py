"""Ceilings over active tokens equal stacked regressions on rows, and are what was planted."""

import numpy as np
import pytest
import torch

from ato.evaluation.active_ceilings import PRIOR_TOKENS, ActiveCeilings, Predictions
from ato.evaluation.active_projections import Projections
from ato.numerics.intervals import MIN_DOCUMENTS, EstimateArray
from ato.saes.autoencoder import ActiveFeatures


class Rows:
    """Active tokens of one feature: true projections, predictions of two operators and of x, document numbers."""

    def __init__(self, a: np.ndarray, predictions: list[np.ndarray], document: np.ndarray):
        self.a, self.predictions, self.document = a, predictions, document

    def add_to(self, ceilings: ActiveCeilings, rows: slice = slice(None), feature: int = 0) -> None:
        stacked = torch.from_numpy(np.stack([self.a, *self.predictions])[:, rows].copy())
        n = stacked.shape[1]
        active = ActiveFeatures(n, torch.arange(n), torch.full((n,), feature), torch.ones(n))
        found = Projections(stacked[0], stacked[1:2], stacked[2:], stacked)
        ceilings.add(found, active, self.document[rows])

    def ceiling(self) -> tuple[float, float, float]:
        ceilings = empty(len(self.predictions))
        self.add_to(ceilings)
        return only(ceilings.result()["all"])

    def r2(self, p: np.ndarray) -> float:
        return 1 - ((self.a - p) ** 2).sum() / ((self.a - self.a.mean()) ** 2).sum()


def empty(n_predictions: int, d_sae: int = 1) -> ActiveCeilings:
    predictions = Predictions(0, tuple(range(n_predictions - 1)))
    return ActiveCeilings({"all": predictions}, d_sae, torch.device("cpu"))


def only(found: EstimateArray) -> tuple[float, float, float]:
    return found.value[0], found.low[0], found.high[0]


def correlated_rows(n: int = 600, n_documents: int = 20, seed: int = 0) -> Rows:
    """Predictions that are related to a and to each other, with effects of the document."""
    rng = np.random.default_rng(seed)
    document = np.sort(rng.integers(n_documents, size=n)) * 3
    base = rng.normal(size=n) + rng.normal(size=n_documents)[document // 3]
    a = 2 * base + rng.normal(size=n) + 5
    others = [base + 0.3 * rng.normal(size=n), 0.5 * base + rng.normal(size=n) - 3, a + 2 * rng.normal(size=n)]
    return Rows(a, others, document)


def plain_ceiling(rows: Rows) -> float:
    """Stacked regression on rows: each document is predicted from the others, with weights drawn to the best single one."""
    z, a = np.column_stack(rows.predictions), rows.a
    sse = 0.0
    for document in np.unique(rows.document):
        held, rest = rows.document == document, rows.document != document
        centred, target = z[rest] - z[rest].mean(0), a[rest] - a[rest].mean()
        alone = ((target[:, None] - centred) ** 2).sum(0)
        prior = np.zeros(z.shape[1])
        if alone.min() < (target**2).sum():
            prior[alone.argmin()] = 1
        penalty = np.sqrt(PRIOR_TOKENS * centred.var(0))
        system = np.vstack([centred, np.diag(penalty)])
        weights = np.linalg.lstsq(system, np.concatenate([target, penalty * prior]), rcond=None)[0]
        predicted = a[rest].mean() + (z[held] - z[rest].mean(0)) @ weights
        sse += ((a[held] - predicted) ** 2).sum()
    return 1 - sse / ((a - a.mean()) ** 2).sum()


def test_the_ceiling_is_a_stacked_regression_fitted_on_other_documents():
    for seed in range(3):
        rows = correlated_rows(seed=seed)
        value, low, high = rows.ceiling()
        assert value == pytest.approx(plain_ceiling(rows), abs=1e-10)
        assert low < value < high


def test_predictions_that_need_another_scale_and_offset_are_given_them():
    rng = np.random.default_rng(1)
    a = rng.normal(size=3000)
    p = 0.2 * a - 7 + 0.02 * rng.normal(size=3000)  # the same information, on another scale: r2 far below 0
    rows = Rows(a, [p], np.arange(3000) // 100)
    value, _, high = rows.ceiling()
    assert rows.r2(p) < -40
    assert value == pytest.approx(1 - 0.01, abs=2e-3)
    assert value < high


def test_a_relation_that_holds_on_active_tokens_only_counts_there():
    """On all tokens y.u follows x.u; where the feature is active, what it adds follows another prediction."""
    rng = np.random.default_rng(2)
    n = 4000
    x, p = rng.normal(size=(2, n))
    active = x > 1.5
    a = np.where(active, 3 * p + 0.5 * rng.normal(size=n), x)
    document = np.arange(n) // 80
    rows = Rows(a[active], [x[active], p[active]], document[active])
    value, *_ = rows.ceiling()
    assert np.corrcoef(a, x)[0, 1] ** 2 > 0.2  # the ceiling over all tokens would be of another relation
    assert value == pytest.approx(9 / 9.25, abs=0.02)
    assert value > max(rows.r2(x[active]), rows.r2(p[active]))


def test_the_ceiling_is_no_lower_than_any_prediction_among_those_combined():
    rows = correlated_rows(n=4000, n_documents=60)
    value, *_ = rows.ceiling()
    rescaled = [np.corrcoef(rows.a, p)[0, 1] ** 2 for p in rows.predictions]
    assert value > max(rescaled) + 0.01
    noise = Rows(rows.a, [*rows.predictions, np.random.default_rng(3).normal(size=len(rows.a))], rows.document)
    assert noise.ceiling()[0] == pytest.approx(value, abs=2e-3)


def test_constant_and_repeated_predictions_change_nothing():
    rows = correlated_rows(n=2000)
    value, *_ = rows.ceiling()
    constant = Rows(rows.a, [*rows.predictions, np.full(len(rows.a), 4.0)], rows.document)
    assert constant.ceiling()[0] == pytest.approx(value, abs=1e-10)
    repeated = Rows(rows.a, [*rows.predictions, rows.predictions[2]], rows.document)
    assert repeated.ceiling()[0] == pytest.approx(value, abs=2e-3)
    nothing = Rows(rows.a, [np.full(len(rows.a), 4.0)], rows.document)
    assert -0.2 < nothing.ceiling()[0] <= 0  # the mean of other documents


def test_without_a_relation_the_ceiling_is_not_optimistic():
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        values.append(Rows(rng.normal(size=60), list(rng.normal(size=(4, 60))), np.arange(60) // 5).ceiling()[0])
    assert -0.3 < np.mean(values) < 0


def test_few_documents_give_no_ceiling():
    for n_documents, known in ((1, False), (MIN_DOCUMENTS - 1, False), (MIN_DOCUMENTS, True)):
        rows = correlated_rows(n=200, n_documents=n_documents)
        assert np.isfinite(rows.ceiling()).all() == known
        assert np.isfinite(rows.ceiling()).any() == known


def test_order_and_merging_of_tokens_change_nothing():
    rows = correlated_rows()
    whole, first, second = (empty(len(rows.predictions), d_sae=3) for _ in range(3))
    rows.add_to(whole, feature=2)
    rows.add_to(second, slice(0, 250), feature=2)
    rows.add_to(first, slice(250, None), feature=2)
    first.merge(second)
    found, expected = (ceilings.result()["all"] for ceilings in (first, whole))
    assert np.isnan(found.value[:2]).all()
    np.testing.assert_allclose(
        [found.value[2], found.low[2], found.high[2]],
        [expected.value[2], expected.low[2], expected.high[2]],
        atol=1e-10,
    )


def test_at_most_one_in_twenty_scores_lies_above_the_upper_end_of_its_ceiling():
    """Scores of predictions fitted elsewhere, on 8 documents of 10 tokens: the fewest that a study judges."""
    above = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        document = np.repeat(np.arange(8), 10)
        signal = rng.normal(size=80) + 0.7 * rng.normal(size=8)[document]
        a = signal + 0.5 * rng.normal(size=80)
        p, x = signal + 0.1 * rng.normal(size=80), 0.3 * signal + rng.normal(size=80)
        rows = Rows(a, [x, p], document)
        above.append(rows.r2(p) > rows.ceiling()[2])
    assert np.mean(above) <= 0.05
