"""Projections at active pairs against plain dense products, with operators folded into the decoder rows and without."""

import numpy as np
import pytest
import torch

from ato import active_projections
from ato.active_projections import ActiveProjections
from ato.operators import TransportOperator
from ato.residuals import ResidualBlock
from ato.saes import SparseAutoencoder

N, D_IN, D, D_SAE = 40, 5, 7, 11


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
    wide = TransportOperator(
        rng.standard_normal((D, D_IN)), rng.standard_normal(D), "ridge", x_mean=np.full(D_IN, 300.0)
    )
    mean = TransportOperator(np.zeros((D, D_IN)), rng.standard_normal(D), "mean")
    identity = TransportOperator(np.eye(D), np.zeros(D), "identity")
    return {"ridge": (0, wide), "mean": (0, mean), "identity": (1, identity)}


@pytest.mark.parametrize("folded_bytes", [1 << 30, 0])
def test_predictions_project_as_the_dense_product_of_their_residuals(sae, operators, folded_bytes, monkeypatch):
    monkeypatch.setattr(active_projections, "FOLDED_BYTES", folded_bytes)
    y = rows(D, 2)
    keys = [np.arange(N)] * 3 + [np.zeros(N, dtype=int)] * 2
    block = ResidualBlock({0: rows(D_IN, 3, shift=300.0), 1: rows(D, 4), 2: y}, *keys)
    active = sae.active(y.float())
    projections = ActiveProjections(sae, operators, torch.float64)
    u, b_dec = sae.decoder_directions.double().numpy(), sae.b_dec.double().numpy()
    pairs = active.token.numpy(), active.feature.numpy()
    assert np.allclose(projections.of_residuals(y, active), ((y.numpy() - b_dec) @ u.T)[pairs], atol=1e-12)
    found = projections.of_predictions(block, active)
    assert list(found) == list(operators)
    for name, (source, operator) in operators.items():
        predicted = operator(block.residuals[source].numpy())
        assert np.allclose(found[name], ((predicted - b_dec) @ u.T)[pairs], atol=1e-9), name
