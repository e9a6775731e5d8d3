"""Document sums and the intervals from resampling documents."""

import numpy as np
import pytest
import torch

from ato.errors import InputError
from ato.numerics.bootstrap import document_bootstrap, percentile_limits, resampled_sums
from ato.numerics.document_sums import DocumentSums, Segments


def r2_of_sums(sums):
    return 1 - sums["sse"] / (sums["yy"] - sums["y"] ** 2 / sums["n"])


def correlated_documents(rng, n_documents, n_tokens, replicates, tau=0.6):
    """Targets and errors whose squares share a share tau of variance within a document; population R2 is 0.75."""
    mixed = [
        np.sqrt(tau) * rng.standard_normal((n_documents, 1, replicates))
        + np.sqrt(1 - tau) * rng.standard_normal((n_documents, n_tokens, replicates))
        for _ in range(2)
    ]
    return mixed[0], 0.5 * mixed[1]


def test_intervals_over_documents_cover_the_truth_where_intervals_over_tokens_do_not():
    rng = np.random.default_rng(0)
    y, error = correlated_documents(rng, n_documents=60, n_tokens=10, replicates=200)

    def coverage(y, error):  # [units, tokens of the unit, replicates]
        sums = {"n": np.full(y.shape[::2], float(y.shape[1])), "y": y.sum(1), "yy": (y**2).sum(1)}
        low, high = document_bootstrap(sums | {"sse": (error**2).sum(1)}, r2_of_sums, n_boot=300)
        return np.mean((low <= 0.75) & (high >= 0.75))

    assert 0.90 <= coverage(y, error) <= 0.99
    assert coverage(y.reshape(600, 1, 200), error.reshape(600, 1, 200)) < 0.80


def test_resampled_sums_are_the_sums_of_documents_drawn_with_replacement():
    statistics = {"n": np.ones(7), "a": np.arange(14.0).reshape(7, 2)}
    sums = [chunk for chunk in resampled_sums(statistics, 500, 3)]
    n, a = (np.concatenate([chunk[name] for chunk in sums]) for name in ("n", "a"))
    assert (n == 7).all()
    np.testing.assert_allclose(a[:, 1] - a[:, 0], 7)
    # Mean and variance of a multinomial-weighted sum: sum a, and D times the population variance of a.
    np.testing.assert_allclose(a[:, 0].mean(), 42, atol=3 * np.sqrt(7 * 16 / 500))
    np.testing.assert_allclose(a[:, 0].var(), 7 * 16, rtol=0.25)


def test_chunks_that_bound_the_memory_change_no_interval(monkeypatch):
    values = np.random.default_rng(1).standard_normal((9, 4))
    whole = document_bootstrap(values, lambda sums: sums / 9, seed=5)
    monkeypatch.setattr("ato.numerics.bootstrap._CHUNK_NUMBERS", 100)
    np.testing.assert_allclose(document_bootstrap(values, lambda sums: sums / 9, seed=5), whole, atol=1e-12)


def test_equal_seeds_give_equal_intervals_and_other_seeds_others():
    values = np.random.default_rng(1).standard_normal(30)
    limits = [document_bootstrap(values, lambda sums: sums, seed=seed) for seed in (0, 0, 1)]
    assert limits[0] == limits[1] != limits[2]


def test_one_document_has_no_interval():
    assert document_bootstrap(np.ones((1, 3)), lambda sums: sums) == (None, None)


def test_limits_hold_the_estimate_even_of_an_estimator_that_resampling_biases():
    values = np.random.default_rng(3).standard_normal((40, 300))
    low, high = document_bootstrap(values, lambda sums: np.square(sums).sum(1))
    assert low <= np.square(values.sum(0)).sum() <= high


def test_undefined_resamples_are_left_out_of_the_limits():
    values = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    low, high = document_bootstrap(values, lambda sums: np.where(sums > 0, sums, np.nan))
    np.testing.assert_array_equal([low[0], high[0]], [3, 3])
    assert np.isnan([low[1], high[1]]).all()


def test_too_few_resamples_are_refused():
    with pytest.raises(InputError, match="at least 40"):
        document_bootstrap(np.ones(3), lambda sums: sums, n_boot=10)


@pytest.mark.parametrize("documents", [[5, 5, 2, 2, 2, 9], [2, 5, 2, 9, 5, 2], [7], [-1, 10**12, -1]])
def test_segment_sums_equal_sums_by_document_in_any_order(documents):
    documents = np.array(documents)
    rows = torch.randn(len(documents), 3, dtype=torch.float64)
    segments = Segments.of(documents)
    sums = segments.sums(segments.arrange(rows))
    assert sorted(segments.documents) == sorted(set(documents))
    for number, total in zip(segments.documents, sums):
        np.testing.assert_allclose(total, rows.numpy()[documents == number].sum(0))


def test_document_sums_do_not_depend_on_the_order_of_blocks_and_merge():
    rng = np.random.default_rng(2)
    blocks = [(rng.permutation(100)[:30], rng.standard_normal((30, 2))) for _ in range(6)]

    def collected(order):
        table = DocumentSums()
        for i in order:
            table.add(blocks[i][0], {"a": blocks[i][1]})
        return table

    forward, backward = collected(range(6)), collected(range(5, -1, -1))
    merged = collected([3, 1]) + collected([0, 5, 2, 4]) + DocumentSums()
    expected = np.zeros((100, 2))
    for documents, values in blocks:
        expected[documents] += values
    seen = sorted({int(number) for documents, _ in blocks for number in documents})
    for table in (forward, backward, merged):
        assert len(table) == len(seen)
        np.testing.assert_allclose(table.arrays()["a"], expected[seen], atol=1e-12)


def test_limits_are_the_quantiles_of_the_finite_estimates():
    estimates = np.random.default_rng(4).standard_normal((97, 3, 5))
    estimates[:40, 1, 2] = np.nan
    estimates[5, 2, 0] = np.inf
    estimates[1:, 0, 4] = np.nan
    limits = percentile_limits(estimates)
    finite = np.where(np.isfinite(estimates), estimates, np.nan)
    np.testing.assert_allclose(limits, np.nanquantile(finite, [0.025, 0.975], axis=0), rtol=1e-12)
