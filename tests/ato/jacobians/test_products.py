"""Mean Jacobians against products of weights, derivatives by hand, autograd token by token and finite differences."""

import numpy as np
import pytest
import torch

from ato.errors import ModelError
from ato.jacobians import ProbePlan, document_jacobians
from ato.models import pad
from ato.moments import Moments
from ato.operators.fitting import fit_operator_from_moments
from tests.ato.jacobians.planted import WIDTH, documents, kept_tokens, linear, non_linear, sums_of, tiny
from tests.tiny_models import FAMILIES

PAIRS = [(0, 2), (1, 2), (0, 3), (1, 3)]
EXACT, LATER = ProbePlan(), ProbePlan(positions="later")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("llama"))


def rows_of(model, texts, layers):
    """Kept residuals of documents at some layers, [n, d] float64."""
    found = {layer: [] for layer in layers}
    for document in texts:
        ids, lengths = pad(document)
        row, _, position = kept_tokens(document, 0)
        for layer, x in model.residuals(ids, lengths, layers).items():
            found[layer].append(x[row, position].double().numpy())
    return {layer: np.concatenate(parts) for layer, parts in found.items()}


def whole_jacobian(model, ids: np.ndarray, source: int, target: int) -> torch.Tensor:
    """d y / d x of one sequence, [t, d, t, d]: PyTorch's own, of the whole pass."""
    tokens, lengths = pad([ids])
    x = model.residuals(tokens, lengths, [source])[source]

    def run(stream):
        options = {"start": (source, stream), "stop": target, "read": [target], "gradients": True}
        return model.run_padded(tokens, lengths, **options).residuals[target][0]

    return torch.autograd.functional.jacobian(run, x.clone())[:, :, 0]


@pytest.mark.parametrize("plan", [EXACT, LATER, ProbePlan(probes=3)], ids=["same", "later", "three probes"])
def test_in_a_linear_network_jacobian_ridge_and_the_product_of_the_weights_are_one(tmp_path, plan):
    model, matrices = linear(tmp_path)
    model.module.double()  # residuals in float32 are rounded to 1e-7 of their size, which ridge makes 1e-5 of
    matrices = [np.float64(np.float32(matrix)) for matrix in matrices]  # as the blocks hold them
    texts = documents(16)
    rows = rows_of(model, texts, [0, 2, 3])
    for (source, target), sums in sums_of(model, texts, PAIRS, plan).items():
        product = np.eye(WIDTH)
        for matrix in matrices[source + 1 : target + 1]:
            product = (np.eye(WIDTH) + matrix) @ product
        assert np.abs(sums.mean() - product).max() < 1e-6
        assert sums.relative_error() < 1e-6, "every token has the same Jacobian"
        if source == 0:
            moments = Moments([(0, target)], precision="float64").update(
                {0: rows[0], target: rows[target]}, np.zeros(len(rows[0]), dtype=int)
            )
            ridge = fit_operator_from_moments(moments, 0, target, "ridge", alphas=[1e-9]).operator
            own = fit_operator_from_moments(moments, 0, target, "jacobian", matrix=sums.mean()).operator
            assert np.abs(ridge.matrix - product).max() < 1e-6
            assert np.abs(own.matrix - product).max() < 1e-6
            assert np.abs(own.matrix - ridge.matrix).max() < 1e-6
            assert np.abs(own(rows[0]) - rows[target]).max() < 1e-6


def test_of_planted_non_linear_blocks_it_is_the_mean_derivative_and_least_squares_is_another_map(tmp_path):
    model, matrices = non_linear(tmp_path)
    with torch.no_grad():  # of a Gaussian stream both maps would be one (Stein's lemma): of a skewed one they are not
        model.module.get_input_embeddings().weight.exponential_(generator=torch.Generator().manual_seed(0))
    texts = documents(40)
    rows = rows_of(model, texts, [1, 2])
    (sums,) = sums_of(model, texts, [(1, 2)], EXACT).values()
    by_hand = np.eye(WIDTH) + matrices[2] * (1 - np.tanh(rows[1]) ** 2).mean(0)
    assert np.abs(sums.mean() - by_hand).max() < 1e-6
    centred = rows[1] - rows[1].mean(0)
    least_squares = np.linalg.lstsq(centred, rows[2] - rows[2].mean(0), rcond=None)[0].T
    by_rows = np.eye(WIDTH) + matrices[2] @ np.linalg.lstsq(centred, np.tanh(rows[1]), rcond=None)[0].T
    assert np.abs(least_squares - by_rows).max() < 1e-5
    assert np.linalg.norm(least_squares - by_hand) > 0.02 * np.linalg.norm(by_hand)
    assert np.linalg.norm((least_squares - sums.mean()) - (by_rows - by_hand)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_both_kinds_of_positions_are_those_of_autograd_on_the_whole_sequence(tmp_path, family):
    model = tiny(tmp_path, family)
    document = documents(2)[1]
    row, number, position = kept_tokens(document, 0)
    for positions in ("same", "later"):
        plan = ProbePlan(positions=positions)
        found = document_jacobians(model, pad(document), (row, number, position), [(0, 2), (1, 3)], plan)
        for (source, target), own in found.items():
            expected = torch.zeros(WIDTH, WIDTH)
            for i, ids in enumerate(document):
                jacobian, kept = whole_jacobian(model, ids, source, target), position[row == i]
                for p in kept:
                    behind = [p] if positions == "same" else [q for q in kept if q >= p]
                    expected += sum(jacobian[q, :, p] for q in behind)
            scale = float(expected.abs().max())
            assert np.abs(own.rows - expected.numpy()).max() < 2e-5 * scale, (positions, source, target)
            assert (own.count == len(position)).all()


def test_a_dropped_token_is_neither_a_source_nor_a_target(llama):
    document = [np.arange(5, 15)]
    kept = np.array([0, 0]), np.array([7, 7]), np.array([2, 6])
    (own,) = document_jacobians(llama, pad(document), kept, [(0, 2)], LATER).values()
    jacobian = whole_jacobian(llama, document[0], 0, 2)
    expected = jacobian[2, :, 2] + jacobian[6, :, 2] + jacobian[6, :, 6]
    np.testing.assert_allclose(own.rows, expected, atol=1e-5 * float(expected.abs().max()))


def test_probed_rows_are_rows_of_the_exact_jacobians_of_their_tokens(llama):
    document = documents(2)[1]
    kept = kept_tokens(document, 0)
    plan = ProbePlan(probes=2, seed=3)
    (few,) = document_jacobians(llama, pad(document), kept, [(0, 2)], plan).values()
    asked = plan.coordinates(kept[1], kept[2], WIDTH)
    expected = np.zeros((WIDTH, WIDTH))
    for i in range(len(kept[0])):
        one = tuple(part[i : i + 1] for part in kept)
        (exact,) = document_jacobians(llama, pad(document), one, [(0, 2)], EXACT).values()
        expected[asked[i]] += exact.rows[asked[i]]
    np.testing.assert_allclose(few.rows, expected, atol=1e-4)
    assert few.count.sum() == 2 * len(kept[0])


def test_pairs_share_a_pass_and_tokens_are_cut_into_blocks_without_changing_a_sum(llama, monkeypatch):
    document = documents(3)[2]
    kept = kept_tokens(document, 0)
    together = document_jacobians(llama, pad(document), kept, PAIRS, EXACT)
    monkeypatch.setattr("ato.jacobians.products.PREFIX_POSITIONS", 3 * 10)
    for pair in PAIRS:
        (alone,) = document_jacobians(llama, pad(document), kept, [pair], EXACT).values()
        np.testing.assert_allclose(together[pair].rows, alone.rows, rtol=1e-4, atol=1e-4)


def test_the_rows_of_a_token_depend_on_it_alone_and_are_all_asked_for_about_as_often():
    plan = ProbePlan(probes=5, seed=1)
    sequence, position = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    asked = plan.coordinates(sequence, position, 64)
    order = np.random.default_rng(0).permutation(len(sequence))
    assert np.array_equal(plan.coordinates(sequence[order], position[order], 64), asked[order])
    assert all(len(set(row)) == 5 for row in asked.tolist())
    counts = np.bincount(asked.flatten(), minlength=64)
    assert counts.min() > 0.7 * counts.mean()
    assert not np.array_equal(ProbePlan(probes=5, seed=2).coordinates(sequence, position, 64), asked)
    later = ProbePlan(probes=5, positions="later").coordinates(sequence, position, 64)
    assert (later.reshape(40, 30, 5) == later.reshape(40, 30, 5)[:, :1]).all()


def test_a_family_that_keeps_no_plain_cache_is_told_what_works(llama, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(llama, "parts", replace(llama.parts, cache=False))
    document = documents(1)[0]
    with pytest.raises(ModelError, match="positions=later"):
        document_jacobians(llama, pad(document), kept_tokens(document, 0), [(0, 2)], EXACT)
