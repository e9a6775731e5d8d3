"""Projections at active pairs against plain dense products, with operators folded into the decoder rows and without."""

import numpy as np
import pytest
import torch

from ato.evaluation import active_projections
from ato.evaluation.active_projections import ActiveProjections
from ato.operators import TransportOperator
from ato.saes import SparseAutoencoder

N, D, D_SAE = 40, 7, 11
TARGET = 2


def rows(d, seed, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((N, d)) + shift)


@pytest.fixture
def sae():
    weights = np.random.default_rng(0)
    shapes = {"W_enc": (D, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D), "b_dec": (D,)}
    return SparseAutoencoder(
        "standard", **{n: torch.tensor(weights.standard_normal(s)).float() for n, s in shapes.items()}
    )


@pytest.fixture
def operators():
    rng = np.random.default_rng(1)
    ridge = TransportOperator(rng.standard_normal((D, D)), rng.standard_normal(D), "ridge", x_mean=np.full(D, 300.0))
    mean = TransportOperator(np.zeros((D, D)), rng.standard_normal(D), "mean")
    identity = TransportOperator(np.eye(D), np.zeros(D), "identity")
    return {"identity": (1, identity), "ridge": (0, ridge), "mean": (0, mean), "identity from 0": (0, identity)}


@pytest.mark.parametrize("folded_bytes", [1 << 30, 0])
def test_residuals_and_predictions_project_as_their_dense_products(sae, operators, folded_bytes, monkeypatch):
    monkeypatch.setattr(active_projections, "FOLDED_BYTES", folded_bytes)
    residuals = {0: rows(D, 3, shift=300.0), 1: rows(D, 4), TARGET: rows(D, 2)}
    active = sae.active(residuals[TARGET].float())
    found = ActiveProjections(sae, TARGET, operators, torch.float64).of_rows(residuals, active)
    u, b_dec = sae.decoder_directions.double().numpy(), sae.b_dec.double().numpy()
    pairs = active.token.numpy(), active.feature.numpy()

    def dense(y):
        return ((np.asarray(y) - b_dec) @ u.T)[pairs]

    np.testing.assert_allclose(found.true, dense(residuals[TARGET]), atol=1e-12)
    np.testing.assert_allclose(found.kept, [dense(residuals[0]), dense(residuals[1])], atol=1e-9)
    expected = [dense(operator(residuals[source].numpy())) for source, operator in operators.values()]
    np.testing.assert_allclose(found.predicted, expected, atol=1e-9)
