"""One form for every architecture: what encoding, decoding and hashing promise whatever the gate."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.errors import SAEError
from ato.saes import ARCHITECTURES, SparseAutoencoder
from tests.ato.saes.random_saes import D_IN, D_SAE, random_residuals, random_sae


@pytest.fixture
def x() -> torch.Tensor:
    return random_residuals()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sparse_activations_are_the_positive_entries_of_the_dense_ones(x, architecture):
    sae = random_sae(architecture)
    dense, active = sae.encode(x), sae.active(x)
    rebuilt = torch.zeros_like(dense)
    rebuilt[active.token, active.feature] = active.value
    assert torch.equal(rebuilt, dense)
    assert (active.value > 0).all()
    assert (active.token.diff() >= 0).all()
    torch.testing.assert_close(sae.reconstruct(x), sae.decode(dense), rtol=1e-4, atol=1e-4)


def test_a_token_without_active_features_is_reconstructed_as_the_bias():
    sae = SparseAutoencoder("standard", torch.eye(3), torch.zeros(3), torch.eye(3), torch.full((3,), 2.0))
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 2.0, 2.0], [-1.0, -1.0, -1.0]])
    assert sae.reconstruct(x).tolist() == [[2.0, 2.0, 2.0], [3.0, 2.0, 2.0], [2.0, 2.0, 2.0]]


def test_decoder_directions_have_length_one_and_a_zero_row_stays_zero():
    sae = random_sae("standard")
    sae.W_dec[3] = 0
    norms = sae.decoder_directions.norm(dim=1)
    assert norms[3] == 0
    torch.testing.assert_close(np.delete(norms.numpy(), 3), np.ones(D_SAE - 1, dtype=np.float32))


def test_the_weights_hash_changes_with_any_weight():
    sae, other = random_sae("jumprelu"), random_sae("jumprelu")
    assert sae.weights_hash == other.weights_hash
    other = random_sae("jumprelu")
    other.threshold[7] += 1e-3
    assert sae.weights_hash != other.weights_hash


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weights_hash_is_over_architecture_limit_and_the_bytes_of_all_weights(architecture):
    sae = random_sae(architecture)
    weights = [sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec] + ([sae.threshold] if sae.threshold is not None else [])
    digest = hashlib.sha256(f"{architecture} {sae.k} True".encode() + b"".join(w.numpy().tobytes() for w in weights))
    assert sae.weights_hash == digest.hexdigest()[:16]


def test_weights_that_do_not_fit_together_are_refused(x):
    eye, zeros = torch.eye(3), torch.zeros(3)
    with pytest.raises(SAEError, match=r"threshold is missing, expected \[3\]"):
        SparseAutoencoder("jumprelu", eye, zeros, eye, zeros)
    with pytest.raises(SAEError, match="k = None is not between 1 and the 3 features of this topk SAE"):
        SparseAutoencoder("topk", eye, zeros, eye, zeros)
    with pytest.raises(SAEError, match=r"b_dec is of shape \[2\], expected \[3\]"):
        SparseAutoencoder("standard", eye, zeros, eye, zeros[:2])
    with pytest.raises(SAEError, match="architecture 'temporal' is not supported: use one of"):
        SparseAutoencoder("temporal", eye, zeros, eye, zeros)
    with pytest.raises(SAEError, match=f"residuals have width {D_IN - 1}, the SAE expects {D_IN}"):
        random_sae("topk").encode(x[:, :-1])


@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_split_activations_are_those_of_the_split_rows(n_parts):
    rng = np.random.default_rng(0)
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((6, 20), 20, (20, 6), 6)]
    sae = SparseAutoencoder("standard", *weights)
    x = torch.tensor(rng.normal(size=(13, 6)), dtype=torch.float32)
    parts = sae.active(x).split(n_parts)
    assert torch.equal(torch.cat([x[rows] for rows, _ in parts]), x)
    for rows, part in parts:
        expected = sae.active(x[rows])
        assert part.n == expected.n
        for name in ("token", "feature"):
            assert torch.equal(getattr(part, name), getattr(expected, name))
        assert torch.allclose(part.value, expected.value, atol=1e-5)


@pytest.mark.parametrize("architecture", [name for name, kind in ARCHITECTURES.items() if not kind.has_threshold])
def test_a_threshold_that_the_architecture_does_not_read_is_refused(architecture):
    sae = random_sae(architecture)
    with pytest.raises(SAEError, match="a threshold was given"):
        replace(sae, threshold=torch.ones(sae.d_sae))
