"""Ablations at a source layer: on models of known blocks, and against whole passes that edit one token."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ato
from ato.causal.source_ablation import DIRECTIONS, MATCHED, PULLBACK, RANDOM, SourceLayer, source_ablations
from ato.errors import InputError, LayerError
from ato.models import pad
from ato.numerics.intervals import MIN_DOCUMENTS
from ato.operators.operator import TransportOperator
from ato.saes import SparseAutoencoder
from ato.text import TokenSequence
from tests.tiny_models import plant_linear_blocks, save_tiny_model

D, TARGET = 16, 3


class Bent(torch.nn.Module):
    """x -> x + |x|: where x changes its sign nothing that is linear follows."""

    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states + hidden_states.abs()


def sequences(n=12, length=20):
    rng = np.random.default_rng(1)
    return [
        TokenSequence(
            i, f"{i:016x}", i // 2, "test", None, 0, rng.integers(3, 259, length - i % 3).astype(np.int32), ""
        )
        for i in range(n)
    ]


def relu_sae(seed: int, d_sae: int = 6) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((d_sae, D))
    parts = (decoder.T, np.zeros(d_sae), decoder, np.zeros(D))
    return SparseAutoencoder("standard", *(torch.tensor(part, dtype=torch.float32) for part in parts))


def operator(matrix: np.ndarray, source: int) -> TransportOperator:
    return TransportOperator(matrix, np.zeros(D), "ridge", source, TARGET, x_mean=np.full(D, 0.1))


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    model = ato.load_model(save_tiny_model(tmp_path_factory.mktemp("linear"), n_layers=4, d_model=D), device="cpu")
    model.module.float()
    rng = np.random.default_rng(2)
    matrices = [0.5 * rng.standard_normal((D, D)) / np.sqrt(D) for _ in range(4)]
    plant_linear_blocks(model.blocks, matrices)
    whole = [np.eye(D) + matrix for matrix in matrices]
    return SimpleNamespace(model=model, to_target={1: whole[3] @ whole[2], 2: whole[3]})


@pytest.fixture(scope="module")
def random_llama(tmp_path_factory):
    return ato.load_model(
        save_tiny_model(tmp_path_factory.mktemp("llama"), n_layers=5, d_model=D), device="cpu", dtype="float32"
    )


def test_in_a_linear_model_every_direction_changes_the_feature_as_the_product_of_its_blocks_says(linear):
    matched = np.array([4, -1, 0])
    sources = {s: SourceLayer(operator(m, s), relu_sae(s), matched) for s, m in linear.to_target.items()}
    found = source_ablations(linear.model, (TARGET, relu_sae(9), [0, 2, 5]), sources, sequences())
    for source in sources:
        assert list(found[source]) == list(DIRECTIONS)
        for name, of in found[source].items():
            known = of.n_tokens > 0
            assert known.tolist() == [True, name != MATCHED, True]
            np.testing.assert_allclose(of.agreement.value[known], 1, atol=1e-6)
            np.testing.assert_allclose(of.slope.value[known], 1, atol=1e-4)
            assert (of.agreement.low[known] <= of.agreement.value[known]).all()
            assert np.isnan(of.agreement.value[~known]).all()
            assert of.agreement_identity.value[known].min() < 0.97, "the identity is another map"


def test_an_operator_that_predicts_and_does_not_carry_is_told_by_its_slope(linear):
    """The operator says twice what the blocks do: half of what it predicts happens."""
    sources = {1: SourceLayer(operator(2 * linear.to_target[1], 1))}
    found = source_ablations(linear.model, (TARGET, relu_sae(9), [0]), sources, sequences())[1]
    np.testing.assert_allclose(found[PULLBACK].slope.value, 0.5, atol=1e-4)
    np.testing.assert_allclose(found[PULLBACK].agreement.value, 0, atol=1e-4)  # (m - 2m)^2 is all of m^2


def test_behind_a_bend_agreement_is_what_the_bend_gives_by_hand(linear, monkeypatch):
    blocks = linear.model.blocks
    kept = blocks[TARGET]
    blocks[TARGET] = Bent()
    try:
        sae, texts = relu_sae(9), sequences()
        found = source_ablations(
            linear.model, (TARGET, sae, [3]), {2: SourceLayer(operator(np.eye(D), 2))}, texts, n_tokens=99
        )[2][PULLBACK]
        ids, lengths = pad([q.token_ids for q in texts])
        x = linear.model.residuals(ids, lengths, [2])[2].double()
        real = (torch.arange(ids.shape[1]) < lengths[:, None]) & (torch.arange(ids.shape[1]) > 0)
        y = x + x.abs()
        u = sae.decoder_directions[3].double()
        chosen = real & (sae.encode(y.reshape(-1, D).float())[:, 3].reshape(y.shape[:2]) > 0)
        x, y = x[chosen], y[chosen]
        taken = ((x - 0.1) @ u)[:, None] * u
        moved = x - taken
        measured, predicted = ((moved + moved.abs()) - y) @ u, -taken @ u
        assert found.n_tokens.tolist() == [len(x)]
        expected = 1 - ((measured - predicted) ** 2).sum() / (measured**2).sum()
        np.testing.assert_allclose(found.agreement.value, expected, atol=1e-5)
        assert found.agreement.value[0] < 0.9
        assert found.agreement.low[0] < found.agreement.value[0] < found.agreement.high[0]
    finally:
        blocks[TARGET] = kept


@pytest.mark.parametrize("batch_size", [1, 5])
def test_changes_are_those_of_whole_passes_with_one_edited_token(random_llama, batch_size):
    model, sae, below = random_llama, relu_sae(9), relu_sae(1)
    t = np.random.default_rng(3).standard_normal((D, D)) / 4
    sources = {1: SourceLayer(operator(t, 1), below, np.array([2, 5]))}
    texts = sequences()
    found = source_ablations(model, (TARGET, sae, [1, 4]), sources, texts, n_tokens=99, batch_size=batch_size, seed=5)[
        1
    ]
    sums = {name: np.zeros((2, 4)) for name in DIRECTIONS}
    for text in texts:
        ids, lengths = pad([text.token_ids])
        clean = model.residuals(ids, lengths, [1, TARGET])
        for slot, (f, m) in enumerate([(1, 2), (4, 5)]):
            u = sae.decoder_directions[f].double()
            active = sae.encode(clean[TARGET][0])[:, f] > 0
            for p in [p for p in range(1, len(text.token_ids)) if active[p]]:
                x = clean[1][0, p].double()
                pulled = torch.from_numpy(u.numpy() @ t)
                along = (x - 0.1) @ pulled / pulled.norm()
                draw = torch.from_numpy(np.random.default_rng([5, 1, f]).standard_normal(D))
                taken = {
                    PULLBACK: along * pulled / pulled.norm(),
                    MATCHED: (below.encode(x[None].float())[0, m] * below.W_dec[m]).double(),
                    RANDOM: along * draw / draw.norm(),
                }
                for name, out in taken.items():
                    if not out.any():
                        continue

                    def edit(stream, p=p, out=out):
                        stream = stream.clone()
                        stream[0, p] -= out.float()
                        return stream

                    y = model.run_padded(ids, lengths, edits={1: edit}, read=[TARGET]).residuals[TARGET]
                    measured = float((y[0, p].double() - clean[TARGET][0, p].double()) @ u)
                    predicted = float(-(pulled @ out))
                    sums[name][slot] += 1, predicted**2, measured**2, predicted * measured
    for name, expected in sums.items():
        n, pp, mm, pm = expected.T
        np.testing.assert_array_equal(found[name].n_tokens, n)
        np.testing.assert_allclose(found[name].predicted, np.sqrt(pp / n), rtol=1e-4)
        np.testing.assert_allclose(found[name].measured, np.sqrt(mm / n), rtol=1e-3)
        np.testing.assert_allclose(found[name].slope.value, pm / pp, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[name].agreement.value, 1 - (mm - 2 * pm + pp) / mm, rtol=1e-3, atol=1e-3)


def test_few_tokens_a_sequence_are_drawn_and_the_order_of_sequences_changes_nothing(random_llama):
    sources = {1: SourceLayer(operator(np.eye(D), 1))}
    one, other = (
        source_ablations(random_llama, (TARGET, relu_sae(9), [1, 4]), sources, texts, n_tokens=2)[1][PULLBACK]
        for texts in (sequences(), sequences()[::-1])
    )
    assert (one.n_tokens <= 2 * 12).all()
    np.testing.assert_array_equal(one.n_tokens, other.n_tokens)
    np.testing.assert_allclose(one.agreement.value, other.agreement.value, rtol=1e-4)


def test_what_is_never_active_or_has_too_few_documents_has_no_number_and_no_interval(random_llama):
    sae = relu_sae(9)
    silent = SparseAutoencoder("standard", sae.W_enc, torch.full((6,), -1e6), sae.W_dec, sae.b_dec)
    sources = {1: SourceLayer(operator(np.eye(D), 1))}
    nothing = source_ablations(random_llama, (TARGET, silent, [1]), sources, sequences())[1][PULLBACK]
    assert nothing.n_tokens.tolist() == [0]
    assert np.isnan(nothing.agreement.value).all()
    assert source_ablations(random_llama, (TARGET, sae, [1]), sources, [])[1][PULLBACK].n_tokens.tolist() == [0]
    few = source_ablations(random_llama, (TARGET, sae, [1]), sources, sequences(2 * (MIN_DOCUMENTS - 1)))[1][PULLBACK]
    assert np.isfinite(few.agreement.value).all()
    assert np.isnan(few.agreement.low).all()
    unread = {1: SourceLayer(operator(np.zeros((D, D)), 1))}
    assert source_ablations(random_llama, (TARGET, sae, [1]), unread, sequences())[1][PULLBACK].n_tokens.tolist() == [0]


def test_wrong_features_and_layers_are_refused(random_llama):
    sources = {TARGET: SourceLayer(operator(np.eye(D), TARGET))}
    with pytest.raises(LayerError, match="do not lie before"):
        source_ablations(random_llama, (TARGET, relu_sae(9), [1]), sources, sequences())
    with pytest.raises(InputError, match="named twice"):
        source_ablations(random_llama, (TARGET, relu_sae(9), [1, 1]), {}, sequences())
    with pytest.raises(InputError, match="no feature"):
        source_ablations(random_llama, (TARGET, relu_sae(9), [6]), {}, sequences())
