"""Components of feature quality equal those of the dense activations; ranking equals a plain loop."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError
from ato.features.quality import FeatureQuality
from ato.residuals import ResidualBlock
from ato.saes import SparseAutoencoder

LAYER, D_SAE, N = 3, 20, 400


def make_sae(seed: int = 0, d_sae: int = D_SAE) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    shapes = ((6, d_sae), d_sae, (d_sae, 6), 6)
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in shapes]
    weights[1][5 % d_sae] = -1e6  # never fires
    return SparseAutoencoder("topk", *weights, k=min(4, d_sae))


@pytest.fixture
def block() -> ResidualBlock:
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.normal(size=(N, 6)), dtype=torch.float32)
    x[200:210] = x[190:200]  # equal activations: the earlier position counts first
    token = rng.integers(7, size=N).astype(np.int32)
    position, sequence = np.arange(N, dtype=np.int32) % 50, np.arange(N) // 50 + 70
    return ResidualBlock({LAYER: x}, sequence, position, token, sequence // 2, np.zeros(N, dtype=np.int16))


def quality(sae: SparseAutoencoder, *blocks: ResidualBlock, top: int = 10) -> FeatureQuality:
    accumulated = FeatureQuality(sae, LAYER, top)
    for part in blocks:
        accumulated.update(part)
    return accumulated


def test_components_are_those_of_the_dense_activations(block):
    from scipy.stats import entropy

    sae = make_sae()
    found = quality(sae, block).result()
    dense = sae.encode(block.residuals[LAYER]).double().numpy()
    assert (found.n_tokens, found.n_documents) == (N, len(set(block.document)))
    for f in range(D_SAE):
        a = dense[:, f]
        active = np.flatnonzero(a > 0)
        assert found.n_active[f] == len(active)
        assert found.activation_rate[f] == len(active) / N
        assert found.deadness[f] == pytest.approx(1 - len(set(block.document[active])) / found.n_documents)
        if not len(active):
            assert np.isnan([found.token_entropy[f], found.mean_activation[f], found.max_activation[f]]).all()
            continue
        top = active[np.lexsort((block.position[active], block.sequence_id[active], -a[active]))][:10]
        assert found.n_top[f] == len(top)
        counts = np.bincount(block.token_id[top])
        assert found.token_entropy[f] == pytest.approx(entropy(counts), abs=1e-12)
        assert found.mean_activation[f] == pytest.approx(a[active].mean(), rel=1e-9)
        assert found.max_activation[f] == a.max()
    assert found.n_active[5] == 0


def test_redundancy_is_the_largest_correlation_of_corrcoef_with_another_feature(block):
    sae = make_sae()
    found = quality(sae, block).result()
    dense = sae.encode(block.residuals[LAYER]).double().numpy()
    with np.errstate(invalid="ignore"):
        expected = np.abs(np.corrcoef(dense.T))
    np.fill_diagonal(expected, np.nan)
    known = np.arange(D_SAE) != 5
    np.testing.assert_allclose(found.redundancy[known], np.nanmax(expected[known], axis=1), rtol=1e-9)
    assert (found.redundant_with[known] == np.nanargmax(expected[known], axis=1)).all()
    assert np.isnan(found.redundancy[5])
    assert found.redundant_with[5] == -1


def test_order_of_blocks_and_merging_change_nothing(block):
    sae = make_sae()
    expected = quality(sae, block).result()
    rng = np.random.default_rng(2)
    parts = [block.select(np.isin(np.arange(N), rows)) for rows in np.array_split(rng.permutation(N), 7)]
    for other in (quality(sae, *parts), quality(sae, *parts[4:]) + quality(sae, *parts[:4])):
        for name, values in vars(other.result()).items():
            np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_nothing_seen_and_nothing_active_give_missing_values(block):
    sae = make_sae()
    for found in (quality(sae).result(), quality(sae, block.select(np.zeros(N, dtype=bool))).result()):
        assert np.isnan(found.token_entropy).all()
        assert np.isnan(found.redundancy).all()
        assert (found.n_active == 0).all()


def test_qualities_of_different_saes_cannot_be_added(block):
    with pytest.raises(MismatchError):
        quality(make_sae(), block) + quality(make_sae(1), block)
