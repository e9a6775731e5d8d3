"""Feature statistics equal those of the dense activations, whatever the blocks."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError
from ato.features.stats import FeatureStats
from ato.residuals import ResidualBlock
from ato.saes import SparseAutoencoder

LAYER = 3
MISSING = ("mean_activation", "std_activation", "max_activation")


def make_sae(seed: int = 0) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((6, 20), 20, (20, 6), 6)]
    return SparseAutoencoder("topk", *weights, k=4)


@pytest.fixture
def block() -> ResidualBlock:
    rng = np.random.default_rng(1)
    n = 300
    document = np.sort(rng.integers(9, size=n))
    x = torch.tensor(rng.normal(size=(n, 6)), dtype=torch.float32)
    position = np.arange(n, dtype=np.int32) % 50
    zeros = np.zeros(n, dtype=np.int32)
    return ResidualBlock({LAYER: x}, np.arange(n) // 50 + 70, position, zeros, document, zeros.astype(np.int16))


def stats(sae: SparseAutoencoder, *blocks: ResidualBlock) -> FeatureStats:
    accumulated = FeatureStats(sae, LAYER)
    for part in blocks:
        accumulated.update(part)
    return accumulated


def test_statistics_are_those_of_the_dense_activations(block):
    sae = make_sae()
    sae.b_enc[5] = -100  # never among the largest, or not positive
    found = stats(sae, block).result()
    dense = sae.encode(block.residuals[LAYER]).double().numpy()
    for feature in range(20):
        a = dense[:, feature]
        active = a > 0
        assert found.n_tokens[feature] == 300
        assert found.n_active[feature] == active.sum()
        assert found.activation_rate[feature] == pytest.approx(active.mean())
        assert found.n_documents_active[feature] == len(set(block.document[active]))
        assert found.decoder_norm[feature] == pytest.approx(sae.W_dec[feature].norm().item(), rel=1e-6)
        if not active.any():
            assert feature == 5
            continue
        assert found.mean_activation[feature] == pytest.approx(a[active].mean(), rel=1e-9)
        assert found.std_activation[feature] == pytest.approx(a[active].std(), rel=1e-6, abs=1e-9)
        assert found.max_activation[feature] == a.max()
        assert found.max_sequence_id[feature] == block.sequence_id[a.argmax()]
        assert found.max_position[feature] == block.position[a.argmax()]


def test_a_feature_that_never_fired_has_missing_values_and_not_zeros(block):
    sae = make_sae()
    sae.b_enc[5] = -100
    found = stats(sae, block).result()
    assert all(np.isnan(getattr(found, name)[5]) for name in MISSING)
    assert (found.max_sequence_id[5], found.max_position[5], found.n_active[5]) == (-1, -1, 0)


def test_block_size_order_and_merging_change_nothing(block):
    sae = make_sae()
    expected = stats(sae, block).result()
    rng = np.random.default_rng(2)
    parts = [block.select(np.isin(np.arange(300), rows)) for rows in np.array_split(rng.permutation(300), 7)]
    for other in (stats(sae, *parts), stats(sae, *parts[3:]) + stats(sae, *parts[:3])):
        for name, values in vars(other.result()).items():
            np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-9, atol=1e-9)


def test_of_equal_maxima_the_earliest_token_is_named():
    eye = torch.eye(2)
    sae = SparseAutoencoder("standard", eye, torch.zeros(2), eye, torch.zeros(2))
    sequence, position = np.array([8, 4, 4, 9]), np.array([0, 7, 2, 1], dtype=np.int32)
    zeros = np.zeros(4, dtype=np.int16)
    block = ResidualBlock({LAYER: torch.ones(4, 2)}, sequence, position, zeros, zeros, zeros)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        found = stats(sae, *(block.select(np.arange(4) == row) for row in order)).result()
        assert (found.max_sequence_id[0], found.max_position[0]) == (4, 2)


def test_the_spread_of_large_nearly_equal_activations_does_not_cancel():
    sae = SparseAutoencoder("standard", torch.eye(1), torch.zeros(1), torch.eye(1), torch.zeros(1))
    x = torch.tensor([[30000.0], [30000.125], [30000.25], [30000.125]])
    zeros = np.zeros(4, dtype=np.int16)
    found = stats(sae, ResidualBlock({LAYER: x}, zeros, zeros, zeros, zeros, zeros)).result()
    assert found.std_activation[0] == pytest.approx(x.double().std(correction=0).item(), rel=1e-9)


def test_no_tokens_give_missing_values():
    found = FeatureStats(make_sae(), LAYER).result()
    assert not found.n_tokens.any()
    assert not found.activation_rate.any()
    assert np.isnan(found.mean_activation).all()


def test_statistics_of_different_saes_cannot_be_merged(block):
    with pytest.raises(MismatchError):
        stats(make_sae(), block) + stats(make_sae(1), block)
