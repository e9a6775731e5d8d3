"""Sums over documents: they add up, their error is true, and files give back what was written."""

import numpy as np
import pytest

from ato.errors import DamagedFileError, DataError, InputError, MismatchError
from ato.jacobians import JacobianSums, ProbePlan
from ato.jacobians.sums import relative_change
from tests.ato.jacobians.planted import documents, non_linear, sums_of

D = 6


def planted(n_documents: int, probes: int, seed: int, tokens: int = 8) -> tuple[JacobianSums, np.ndarray]:
    """Tokens whose Jacobians are J + noise of their document + noise of their own; returns the sums and J."""
    truth = np.random.default_rng(99).standard_normal((D, D))
    rng, sums = np.random.default_rng(seed), JacobianSums.empty(D, D)
    for number in range(n_documents):
        n = int(rng.integers(tokens // 2, tokens + 1))
        own = truth + 0.5 * rng.standard_normal((D, D))
        jacobians = own + rng.standard_normal((n, D, D))
        asked = ProbePlan(probes, seed=seed).coordinates(np.full(n, number), np.arange(n), D)
        rows, count = np.zeros((D, D)), np.zeros(D, dtype=int)
        for jacobian, chosen in zip(jacobians, asked, strict=True):
            rows[chosen] += jacobian[chosen]
            count[chosen] += 1
        sums.update(rows, count, n)
    return sums, truth


@pytest.mark.parametrize("probes", [1, 2, D])
def test_the_stated_error_is_the_error_over_many_repetitions(probes):
    stated, true = [], []
    for seed in range(60):
        sums, truth = planted(60, probes, seed)
        stated.append(sums.relative_error() * np.linalg.norm(sums.mean()))
        true.append(np.linalg.norm(sums.mean() - truth))
    root_mean_square = [float(np.sqrt(np.mean(np.square(values)))) for values in (stated, true)]
    assert root_mean_square[0] == pytest.approx(root_mean_square[1], rel=0.1)
    assert np.mean(np.array(true) < 2 * np.array(stated)) > 0.95


def test_the_error_falls_as_the_root_of_probes_times_tokens():
    def error(n, probes):
        return np.mean([planted(n, probes, seed)[0].relative_error() for seed in range(8)])

    assert error(50, 1) / error(200, 1) == pytest.approx(2, rel=0.15)
    assert error(200, 1) > 1.5 * error(200, 4)


def test_a_sample_of_rows_is_as_far_from_the_exact_jacobian_of_a_model_as_it_says(tmp_path):
    model, _ = non_linear(tmp_path)
    texts = documents(60)
    (exact,) = sums_of(model, texts, [(0, 3)], ProbePlan()).values()
    for seed in range(5):
        (few,) = sums_of(model, texts, [(0, 3)], ProbePlan(probes=2, seed=seed)).values()
        gap = np.linalg.norm(few.mean() - exact.mean()) / np.linalg.norm(exact.mean())
        assert 0 < gap < 2 * few.relative_error()
        assert exact.relative_error() < few.relative_error()


def test_shards_add_up_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    parts = [(rng.standard_normal((D, D)), rng.integers(0, 3, D), 5) for _ in range(12)]
    whole, shards = JacobianSums.empty(D, D), [JacobianSums.empty(D, D) for _ in range(3)]
    for i, part in enumerate(parts):
        whole.update(*part)
        shards[i % 3].update(*part)
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = sum((shards[i] for i in order[1:]), shards[order[0]])
        np.testing.assert_allclose(merged.mean(), whole.mean(), rtol=1e-12)
        assert merged.relative_error() == pytest.approx(whole.relative_error(), rel=1e-9)
        assert (merged.n_documents, merged.n_tokens) == (12, 60)
    with pytest.raises(MismatchError):
        _ = whole + JacobianSums.empty(D, D + 1)


def test_what_cannot_be_known_is_none_or_refused_in_one_line():
    sums = JacobianSums.empty(D, D)
    assert sums.relative_error() is None
    with pytest.raises(DataError, match="6 of 6 rows") as refused:
        sums.mean()
    assert "\n" not in str(refused.value)
    sums.update(np.ones((D, D)), np.ones(D), 1)
    assert sums.relative_error() is None, "one document says nothing of others"
    sums.update(np.ones((D, D)), np.ones(D), 1)
    assert sums.relative_error() == 0, "equal documents"
    nothing = JacobianSums.empty(D, D).update(np.zeros((D, D)), np.ones(D), 1).update(np.zeros((D, D)), np.ones(D), 1)
    assert nothing.relative_error() is None
    assert relative_change(np.zeros((2, 2)), np.zeros((2, 2))) == 0
    assert relative_change(2 * np.eye(2), np.eye(2)) == 0.5


def test_files_give_back_the_sums_and_damage_is_told(tmp_path):
    sums, _ = planted(5, 3, 0)
    path = tmp_path / "sums.safetensors"
    sums.save(path)
    loaded = JacobianSums.load(path)
    assert all(np.array_equal(value, getattr(loaded, name)) for name, value in vars(sums).items())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFileError):
        JacobianSums.load(path)
    with pytest.raises(InputError):
        JacobianSums.load(tmp_path / "none")
