"""Components of feature quality equal those of the dense activations; ranking equals a plain loop."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError
from ato.features.quality import FeatureQuality
from ato.features.ranking import (
    PRE_WEIGHTS,
    WEIGHTS,
    best_features,
    composite,
    min_max,
    normalised_components,
    rank_features,
)
from ato.features.redundancy import CoActivations
from ato.residuals import MemorySource, ResidualBlock
from ato.residuals.memory import FirstTokens
from ato.saes import ActiveFeatures, SparseAutoencoder

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


def triplets(dense: np.ndarray) -> ActiveFeatures:
    token, feature = np.nonzero(dense)
    value = torch.tensor(dense[token, feature], dtype=torch.float32)
    return ActiveFeatures(len(dense), torch.from_numpy(token), torch.from_numpy(feature), value)


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


@pytest.mark.parametrize("tile", [1, 3, 512])
def test_constant_and_duplicate_features_have_no_and_full_redundancy(monkeypatch, tile):
    monkeypatch.setattr("ato.features.redundancy._TILE", tile)
    rng = np.random.default_rng(0)
    dense = np.maximum(rng.normal(size=(60, 6)), 0).astype(np.float32)
    dense[:, 1] = 0.3  # always on, always equal
    dense[:, 4] = 2 * dense[:, 2]
    dense[:, 5] = 1000 + dense[:, 0]
    pairs = CoActivations(6)
    for rows in np.array_split(dense, 4):
        pairs.update(triplets(rows))
    found = pairs.result()
    assert np.isnan(found.correlation[1])
    assert found.feature[1] == -1
    np.testing.assert_allclose(found.correlation[[2, 4]], 1, rtol=1e-12)
    assert (found.feature[2], found.feature[4]) == (4, 2)
    assert found.correlation[0] == pytest.approx(1, abs=1e-5)
    assert 1 not in found.feature


def test_a_single_feature_has_nothing_to_be_redundant_with():
    found = CoActivations(1).update(triplets(np.array([[1.0], [0.0], [2.0]]))).result()
    assert np.isnan(found.correlation).all()
    assert (found.feature == -1).all()


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


def test_composite_is_the_weighted_sum_of_min_max_components():
    rng = np.random.default_rng(4)
    raw = {name: rng.uniform(size=12) for name in ("token_entropy", "focus_z", "redundancy", "deadness")}
    causal = rng.normal(size=12)
    for values in (*raw.values(), causal):
        values[7] = np.nan  # silent
    raw["redundancy"][2] = np.nan  # constant, yet active
    causal[[0, 1]] = np.nan  # not ablated
    found = normalised_components(**raw, causal_effect=causal)

    def scaled(x: np.ndarray) -> np.ndarray:
        return (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x))

    e, z, r, d = (scaled(raw[name]) for name in ("token_entropy", "focus_z", "redundancy", "deadness"))
    r[2] = 0
    np.testing.assert_allclose(composite(found, PRE_WEIGHTS), 0.40 * (1 - e) + 0.35 * z - 0.15 * r - 0.10 * d)
    c = scaled(np.maximum(causal, 0))
    np.testing.assert_allclose(composite(found, WEIGHTS), 0.35 * (1 - e) + 0.25 * z + 0.30 * c - 0.07 * r - 0.03 * d)
    without = normalised_components(**raw)
    np.testing.assert_allclose(composite(without, WEIGHTS), 0.35 * (1 - e) + 0.25 * z - 0.07 * r - 0.03 * d)


def test_equal_values_are_scaled_to_zero_and_missing_ones_stay_missing():
    np.testing.assert_array_equal(min_max(np.array([2.0, np.nan, 2.0])), [0, np.nan, 0])
    assert np.isnan(min_max(np.full(3, np.nan))).all()


def test_selection_takes_the_integer_share_of_all_features_and_never_one_without_a_score():
    score = np.array([0.1, np.nan, 0.9, 0.9, 0.3, np.nan, 0.2, 0.0, -1.0, 0.5])
    assert best_features(score, 39.9).tolist() == [2, 3, 9]
    assert best_features(score, 0.1).tolist() == [2]
    assert best_features(score, 100).tolist() == [2, 3, 9, 4, 6, 0, 7, 8]
    assert best_features(np.full(3, np.nan), 100).tolist() == []
    with pytest.raises(InputError):
        best_features(score, 0)


def test_only_candidates_have_a_score_and_a_rank():
    e = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    flat = np.where(np.isnan(e), np.nan, 0.5)
    components = normalised_components(token_entropy=e, focus_z=flat, redundancy=flat, deadness=flat)
    ranking = rank_features(components, np.array([2, 1]), 40.0)
    assert np.isnan(ranking.score[[0, 3, 4]]).all()
    assert ranking.rank.tolist() == [0, 1, 2, 0, 0]
    assert ranking.selected.tolist() == [1, 2]


def test_the_first_tokens_of_a_source_are_cut_exactly_and_nothing_behind_is_read():
    x = {LAYER: torch.arange(100.0)[:, None]}
    read = []

    class Watched(MemorySource):
        def blocks(self, layers=None, splits=None):
            for block in super().blocks(layers, splits):
                read.append(block.n)
                yield block

    blocks = list(FirstTokens(Watched(x, block_rows=30), 50).blocks([LAYER]))
    assert torch.cat([b.residuals[LAYER] for b in blocks]).flatten().tolist() == list(range(50))
    assert read == [30, 30]
    assert sum(b.n for b in FirstTokens(MemorySource(x), 500).blocks()) == 100
