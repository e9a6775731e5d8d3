"""Gradient x activation is the slope of the loss, equals ablation where the loss is linear, and ranks alike elsewhere."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import ato
from ato.errors import DataError, InputError, SettingsError
from ato.models.gradients import loss_gradient
from ato.models.language_model import pad
from ato.sae_studies.attribution import AttributionSettings, feature_attribution
from ato.saes import SparseAutoencoder
from tests.ato.causal.test_ablation import D_SAE, SILENT, D, make_sae, make_sequences
from tests.tiny_models import plant_linear_blocks, save_tiny_model

LAYER = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("gpt2"), "gpt2", n_layers=3, d_model=D)
    return ato.load_model(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A model whose loss is linear in the stream: blocks x + Wx, no final norm, and one id that always wins by far."""
    folder = save_tiny_model(tmp_path_factory.mktemp("llama"), "llama", n_layers=3, d_model=D)
    model = ato.load_model(folder, device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    plant_linear_blocks(model.blocks, 0.03 * rng.normal(size=(3, D, D)))
    model.module.model.norm = torch.nn.Identity()
    with torch.no_grad():
        embedding = 0.5 * rng.normal(size=(model.vocabulary_size, D)) + 100 * np.eye(D)[0]
        model.module.model.embed_tokens.weight.copy_(torch.tensor(embedding))
        model.parts.head.weight.zero_()
        model.parts.head.weight[0] = torch.tensor(np.eye(D)[0] + 0.1 * rng.normal(size=D))
    return model


def reader(sae: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """The same features, which write ``scale`` times as much."""
    return SparseAutoencoder("topk", sae.W_enc, sae.b_enc, scale * sae.W_dec, sae.b_dec, k=sae.k)


def attribution(model, sae, sequences, candidates, **settings):
    return feature_attribution(
        model, (LAYER, sae), sequences, np.asarray(candidates), AttributionSettings(**({"n_tokens": 20} | settings))
    )


def test_on_a_loss_that_is_linear_gradient_and_ablation_are_the_same_number(linear):
    sae, sequences = reader(make_sae(), 0.1), make_sequences()
    ids, lengths = pad([one.token_ids for one in sequences])
    sae.b_dec.copy_(linear.residuals(ids, lengths, [LAYER])[LAYER].mean((0, 1)))
    found = attribution(linear, sae, sequences, np.arange(D_SAE))
    expected = -found.gradient_x_activation.value
    known = np.isfinite(expected)
    assert known.sum() > 5
    scale = np.abs(expected[known]).max()
    np.testing.assert_allclose(found.ablation.value[known], expected[known], atol=2e-4 * scale)
    assert found.rank_agreement.value == pytest.approx(1.0, abs=1e-3)
    assert found.n_ranked == known.sum()


def test_the_score_is_the_slope_of_the_loss_by_finite_differences_in_float64(tmp_path):
    model = ato.load_model(save_tiny_model(tmp_path, "gpt2", n_layers=3, d_model=D), device="cpu", dtype="float32")
    model.module.double()
    sae, sequences = make_sae(), make_sequences(4)
    found = attribution(model, sae, sequences, [])
    ids, lengths = pad([one.token_ids[:20] for one in sequences])
    residual = model.residuals(ids, lengths, [LAYER])[LAYER]
    real = torch.arange(1, ids.shape[1]) < lengths[:, None]

    def loss(stream):
        hidden = model.hidden_from(LAYER, stream, ids, lengths)
        logits = model.parts.logits(hidden[:, :-1])
        return torch.nn.functional.cross_entropy(logits[real], ids[:, 1:][real], reduction="sum").item()

    place = torch.arange(ids.shape[1])
    kept = (place > 0) & (place < lengths[:, None] - 1)
    assert found.n_tokens == int(real.sum())
    for feature in np.flatnonzero(found.n_active)[:6]:
        a = sae.encode(residual.float().reshape(-1, D))[:, feature].reshape(kept.shape) * kept
        direction, step = a[..., None].double() * sae.W_dec[feature].double(), 1e-5
        slope = (loss(residual + step * direction) - loss(residual - step * direction)) / (2 * step)
        expected = slope / found.n_tokens
        assert found.gradient_x_activation.value[feature] == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_losses_beside_the_gradient_are_those_of_the_model_and_padding_has_none(model):
    ids, lengths = pad([one.token_ids for one in make_sequences()])
    residual = model.residuals(ids, lengths, [LAYER])[LAYER]
    losses, gradient = loss_gradient(model, LAYER, residual, ids, lengths)
    torch.testing.assert_close(losses, model.token_losses(ids, lengths), atol=1e-5, rtol=1e-5)
    last_or_padding = torch.arange(ids.shape[1]) >= lengths[:, None] - 1
    assert (gradient[last_or_padding] == 0).all()
    assert (gradient[~last_or_padding].abs().sum(1) > 0).all()
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert not model.residuals(ids, lengths, [LAYER])[LAYER].requires_grad


def test_small_features_are_ranked_alike_and_large_ones_less(model):
    sequences = make_sequences(16)
    small = attribution(model, reader(make_sae(), 0.01), sequences, np.arange(D_SAE))
    known = np.isfinite(small.ablation.value)
    expected = spearmanr(-small.gradient_x_activation.value[known], small.ablation.value[known])[0]
    assert small.rank_agreement.value == pytest.approx(expected)
    assert small.rank_agreement.value > 0.9
    assert small.rank_agreement.low < small.rank_agreement.value <= small.rank_agreement.high
    mass = spearmanr(small.activation_mass[known], small.ablation.value[known])[0]
    assert small.rank_agreement_of_mass.value == pytest.approx(mass)
    assert small.rank_agreement_null_sd == pytest.approx(1 / np.sqrt(known.sum() - 1))
    large = attribution(model, reader(make_sae(), 3.0), sequences, np.arange(D_SAE))
    assert large.rank_agreement.value < small.rank_agreement.value


def test_batches_change_nothing(model):
    sequences = make_sequences(12)
    one, many = (attribution(model, make_sae(), sequences, [1, 4, 9], batch_size=size) for size in (1, 12))
    for name in ("gradient_x_activation", "ablation"):
        np.testing.assert_allclose(getattr(one, name).value, getattr(many, name).value, atol=1e-5)
    assert one.n_active.tolist() == many.n_active.tolist()
    assert one.n_tokens == many.n_tokens == sum(min(len(s.token_ids), 20) - 1 for s in sequences)


def test_silent_features_have_no_score_and_too_few_no_agreement(model):
    found = attribution(model, make_sae(), make_sequences(), [SILENT, 4])
    assert np.isnan(found.gradient_x_activation.value[SILENT])
    assert np.isnan(found.activation_mass[SILENT])
    assert np.isnan(found.ablation.value[0])
    assert found.n_active[SILENT] == 0
    assert found.rank_agreement.value is None
    assert np.isnan(found.rank_agreement_null_sd)
    assert "too few" in found.reason
    assert attribution(model, make_sae(), make_sequences(), []).ablation.value.shape == (0,)


def test_outliers_count_in_neither_measure(model):
    sequences = make_sequences(4)
    with_all = attribution(model, make_sae(), sequences, [1, 4, 9])
    ids, lengths = pad([one.token_ids[:20] for one in sequences])
    norms = model.residuals(ids, lengths, [LAYER])[LAYER].norm(dim=2)
    median = float(norms.median()) / 10
    found = feature_attribution(
        model, (LAYER, make_sae()), sequences, np.array([1, 4, 9]), AttributionSettings(20), median_norm=median
    )
    assert 0 < found.n_active.sum() < with_all.n_active.sum()
    none = feature_attribution(
        model, (LAYER, make_sae()), sequences, np.array([1, 4, 9]), AttributionSettings(20), median_norm=1e-9
    )
    assert none.n_active.sum() == 0
    assert np.isnan(none.ablation.value).all()


def test_what_cannot_be_attributed_is_refused(model):
    with pytest.raises(DataError, match="predict"):
        attribution(model, make_sae(), [], [1])
    with pytest.raises(InputError, match="twice"):
        attribution(model, make_sae(), make_sequences(), [1, 1])
    with pytest.raises(InputError, match="no feature"):
        attribution(model, make_sae(), make_sequences(), [D_SAE])
    with pytest.raises(SettingsError, match="2 tokens"):
        AttributionSettings(n_tokens=1)
