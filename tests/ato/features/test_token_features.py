"""The features of a token are those of plain encoding, and what an operator predicts of them is T x + b encoded by hand."""

import numpy as np
import pytest
import torch

from ato.features.token_features import features_of_tokens, predicted_features, values_at
from ato.operators.operator import TransportOperator
from ato.saes import SparseAutoencoder
from ato.saes.autoencoder import ActiveFeatures

WIDTH, N = 6, 40


def planted(architecture="standard", **options):
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(*shape, generator=generator) for shape in ((WIDTH, N), (N,), (N, WIDTH), (WIDTH,))]
    return SparseAutoencoder(architecture, *weights, **options)


@pytest.fixture
def residuals():
    return torch.randn(9, WIDTH, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("sae", [planted(), planted("topk", k=5)], ids=["standard", "topk"])
def test_the_top_features_of_a_token_are_those_of_plain_encoding(sae, residuals):
    dense = sae.encode(residuals).numpy()
    found = features_of_tokens(sae.active(residuals), most=3)
    assert len(found) == len(dense)
    for own, values in zip(found, dense):
        order = np.argsort(-values, kind="stable")[:3]
        order = order[values[order] > 0]
        assert own.features == tuple(order.tolist())
        assert own.activations == pytest.approx(values[order].tolist())
        assert own.n_active == (values > 0).sum()
        assert own.predicted is None


def test_what_an_operator_predicts_is_the_encoding_of_its_output_by_hand(residuals):
    sae, rng = planted(), np.random.default_rng(5)
    matrix, bias = rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=WIDTH)
    operator = TransportOperator(matrix, bias, "ridge", source_layer=0, target_layer=1)
    by_hand = sae.encode(torch.from_numpy(residuals.double().numpy() @ matrix.T + bias).float()).numpy()
    found = features_of_tokens(sae.active(residuals), predicted_features(sae, operator, residuals))
    for token, own in enumerate(found):
        assert own.predicted == pytest.approx(by_hand[token, list(own.features)].tolist(), abs=1e-5)


def test_equal_activations_stand_in_the_order_of_their_numbers_and_silent_tokens_have_no_features():
    active = ActiveFeatures(3, torch.tensor([1, 1, 1]), torch.tensor([7, 2, 5]), torch.tensor([1.0, 1.0, 2.0]))
    silent, fires, last = features_of_tokens(active)
    assert fires.features == (5, 2, 7)
    assert silent.features == last.features == ()
    assert values_at(active, np.array([1, 1, 2]), np.array([5, 9, 5])).tolist() == [2.0, 0.0, 0.0]
