"""Averages over features: values, limits by document of their own, paired differences, shares of verdicts."""

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from ato.evaluation import feature_transport
from ato.evaluation.feature_averages import FeatureAveraging
from ato.evaluation.feature_scores import R2Sums
from ato.numerics.intervals import MIN_DOCUMENTS
from tests.ato.evaluation.test_feature_transport import Case

THRESHOLDS = {"transported_above": 0.7, "computed_below": 0.3}


def averaged(case: Case, **options):
    return case.transport().averages({"all": np.ones(case.sae.d_sae, dtype=bool)}, **options)["all"]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(n=900, n_documents=14)


def test_means_and_differences_have_the_limits_of_leaving_a_document_out_of_all_features(case):
    found, scores = averaged(case), case.transport().result()
    scored = np.isfinite(scores["linear"].r2.value)
    active = case.sae.encode(torch.from_numpy(case.y)).numpy() > 0
    numbers = np.unique(case.document)

    def mean_r2(name: str, left_out: int | None) -> float:
        values = []
        for f in np.flatnonzero(scored):
            rows = active[:, f] & (case.document != left_out)
            u = case.sae.decoder_directions[f].double().numpy()
            a, p = case.y[rows].astype(float) @ u, case.operators[name][1](case.x[rows].astype(float)) @ u
            values.append(1 - np.square(a - p).sum() / np.square(a - a.mean()).sum())
        return float(np.mean(values))

    value = np.array([mean_r2(name, None) for name in case.operators])
    without = np.array([[mean_r2(name, number) for name in case.operators] for number in numbers])
    k = np.array([active[case.document == number][:, scored].sum() for number in numbers])
    n, freedom = len(numbers), k.sum() ** 2 / (k**2).sum() - 1

    def limits(value: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        error = np.sqrt((n - 1) / n * np.square(without - without.mean(0)).sum(0))
        middle = n * value - (n - 1) * without.mean(0)
        reach = student.ppf(0.975, freedom) * error
        return middle - reach, middle + reach

    low, high = limits(np.log1p(-value), np.log1p(-without))
    assert (found.n_features, found.n_documents) == (scored.sum(), n)
    np.testing.assert_allclose(found.mean_r2.value, value)
    np.testing.assert_allclose(found.mean_r2.low, np.minimum(1 - np.exp(high), value))
    np.testing.assert_allclose(found.mean_r2.high, np.maximum(1 - np.exp(low), value))
    low, high = limits(value[0] - value[1], without[:, 0] - without[:, 1])
    assert found.differences[0, 1].value == pytest.approx(value[0] - value[1])
    assert found.differences[0, 1].low == pytest.approx(min(low, value[0] - value[1]))
    assert found.differences[1, 0].low == pytest.approx(-found.differences[0, 1].high)
    assert found.differences[0, 0].low == found.differences[0, 0].high == 0


def test_the_interval_of_an_average_is_no_average_of_intervals(case):
    found, r2 = averaged(case), case.transport().result()["linear"].r2
    width = found.mean_r2.high[0] - found.mean_r2.low[0]
    assert 0 < width < 0.7 * np.nanmean(r2.high - r2.low)


def test_shares_are_those_of_the_verdicts_and_have_limits(case):
    found = averaged(case)
    for i, scores in enumerate(case.transport().result().values()):
        scored = np.isfinite(scores.r2.value)
        for verdict, share in found.shares.items():
            assert share.value[i] == pytest.approx((scores.verdict[scored] == verdict).mean())
            assert 0 <= share.low[i] <= share.value[i] <= share.high[i] <= 1
            assert share.low[i] < share.high[i]


def test_only_chosen_features_count_and_chunks_change_nothing(case, monkeypatch):
    chosen = np.arange(case.sae.d_sae) % 3 == 0
    transport = case.transport()
    expected = transport.averages({"all": np.ones_like(chosen), "some": chosen})
    assert expected["some"].n_features < expected["all"].n_features
    r2 = transport.result()["linear"].r2.value
    assert expected["some"].mean_r2.value[0] == pytest.approx(np.nanmean(r2[chosen]))
    monkeypatch.setattr(feature_transport, "_CHUNK_FEATURES", 4)
    found = case.transport().averages({"all": np.ones_like(chosen), "some": chosen})
    for name in expected:
        np.testing.assert_allclose(found[name].mean_r2.low, expected[name].mean_r2.low)
        np.testing.assert_allclose(found[name].shares["transported"].high, expected[name].shares["transported"].high)


def test_few_documents_or_no_feature_give_no_limits():
    few = averaged(Case(n=600, n_documents=MIN_DOCUMENTS - 1))
    assert np.isfinite(few.mean_r2.value).all()
    assert np.isnan(few.mean_r2.low).all()
    assert np.isnan(few.shares["undetermined"].low).all()
    none = averaged(Case(), min_active=10**6)
    assert (none.n_features, np.isnan(none.mean_r2.value).all()) == (0, True)
    assert np.isnan(none.shares["undetermined"].value).all()


def simulated(rng: np.random.Generator, documents: int, error: np.ndarray) -> R2Sums:
    """Features that share their documents' moods, under two operators of which the second errs 10 % more."""
    n_features = len(error)
    of_document = np.exp(rng.normal(1.8, 1, (documents, 1)) + rng.normal(0, 0.7, (documents, n_features)))
    n = np.minimum(of_document * (rng.random(of_document.shape) < 0.7), 60).astype(int)
    inside, shared = np.arange(n.max())[:, None] < n[:, None], rng.standard_normal((documents, 1, 1))

    def tokens() -> np.ndarray:
        mood = np.sqrt(0.2) * shared * rng.choice([-1, 1], size=n_features)
        own = np.sqrt(0.4) * rng.standard_normal((documents, 1, n_features))
        return (mood + own + np.sqrt(0.4) * rng.standard_normal(inside.shape)) * inside

    y, factor = tokens(), np.exp(0.4 * rng.standard_normal((documents, 1, 1)) - 0.16)
    e = tokens() * np.sqrt(error) * factor
    more = rng.standard_normal(inside.shape) * inside * np.sqrt(0.1 * error) * factor
    sse = np.stack([(e**2).sum(1), ((e + more) ** 2).sum(1)], axis=1)
    return R2Sums(n.astype(float), y.sum(1), (y**2).sum(1), sse)


def test_limits_of_averages_differences_and_shares_hold_the_truth():
    error, rng, found = np.random.default_rng(5).uniform(0.02, 1.2, 60), np.random.default_rng(0), []
    for _ in range(60):
        sums = simulated(rng, 20, error)
        averaging = FeatureAveraging(sums.n.sum(0) >= 30, 20, 2, **THRESHOLDS)
        averaging.add(slice(0, 60), sums)
        found.append(averaging.result())

    def held(low, high, truth: float) -> float:
        return float(np.mean((np.array(low) <= truth) & (truth <= np.array(high))))

    r2, difference = [f.mean_r2[0] for f in found], [f.differences[0, 1] for f in found]
    assert held([e.low for e in r2], [e.high for e in r2], 1 - error.mean()) >= 0.87
    assert held([e.low for e in difference], [e.high for e in difference], 0.1 * error.mean()) >= 0.87
    for verdict in ("transported", "computed", "undetermined"):
        shares = [f.shares[verdict][0] for f in found]
        expected = float(np.mean([s.value for s in shares]))
        assert held([s.low for s in shares], [s.high for s in shares], expected) >= 0.85


def test_q_values_are_those_of_benjamini_and_hochberg_and_agree_with_the_verdicts(case):
    scores = case.transport().result()["linear"]
    known = np.isfinite(scores.q_transported)
    assert (known == np.isfinite(scores.r2.low)).all()
    q = scores.q_transported[known]
    assert ((q >= 0) & (q <= 1)).all()
    # p is at most 2.5 % where a feature is called transported, so q is at most that times features over such features
    called = scores.verdict[known] == "transported"
    if called.any():
        assert q[called].max() <= 0.025 * known.sum() / called.sum() + 1e-12
    order = np.argsort(q, kind="stable")
    assert (np.diff(q[order]) >= 0).all()
