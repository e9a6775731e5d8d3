"""Examples are what a full sort of the dense activations gives, and windows hold these activations."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError
from ato.features.examples import ExampleTokens, ExampleWindows
from ato.residuals import ResidualBlock
from ato.saes import SparseAutoencoder

LAYER, D_SAE, LENGTH, SILENT = 2, 8, 30, 5
FEATURES = np.array([6, 1, SILENT])


@pytest.fixture
def sae() -> SparseAutoencoder:
    rng = np.random.default_rng(0)
    weights = [torch.tensor(rng.normal(size=s), dtype=torch.float32) for s in ((4, D_SAE), D_SAE, (D_SAE, 4), 4)]
    weights[1][SILENT] = -1e6
    return SparseAutoencoder("standard", *weights)


@pytest.fixture
def block() -> ResidualBlock:
    rng = np.random.default_rng(1)
    n = 12 * LENGTH
    sequence, position = np.arange(n) // LENGTH + 40, (np.arange(n) % LENGTH).astype(np.int32)
    x = torch.tensor(rng.normal(size=(n, 4)), dtype=torch.float32)
    keys = sequence, position, position, sequence // 3, np.zeros(n, dtype=np.int16)
    return ResidualBlock({LAYER: x}, *keys).select(position > 0)  # position 0 is left out, as in collections


def parts_of(block: ResidualBlock, n: int) -> list[ResidualBlock]:
    shuffled = np.random.default_rng(2).permutation(block.n)
    return [block.select(np.isin(np.arange(block.n), rows)) for rows in np.array_split(shuffled, n)]


def tokens(sae: SparseAutoencoder, *blocks: ResidualBlock, counts: tuple[int, int, int] = (3, 4, 5)) -> ExampleTokens:
    kept = ExampleTokens(sae, LAYER, *counts)
    for part in blocks:
        kept.update(part)
    return kept


def test_top_examples_are_the_strongest_of_each_sequence(sae, block):
    found = tokens(sae, block).choose(FEATURES)
    dense = sae.encode(block.residuals[LAYER]).numpy()
    for f in (1, 6):
        top = (found.feature_id == f) & (found.kind == "top")
        best = [(dense[block.sequence_id == s, f].max(), s) for s in np.unique(block.sequence_id)]
        expected = sorted(best, key=lambda pair: (-pair[0], pair[1]))[:3]
        assert found.rank[top].tolist() == [1, 2, 3]
        assert found.sequence_id[top].tolist() == [s for _, s in expected]
        np.testing.assert_array_equal(found.activation[top], [a for a, _ in expected])
        for s, p, a in zip(found.sequence_id[top], found.position[top], found.activation[top], strict=True):
            assert dense[(block.sequence_id == s) & (block.position == p), f] == a
    assert SILENT not in found.feature_id
    assert set(found.kind) == {"top", "random", "quantile"}


def test_each_activation_quantile_has_an_example_within_its_bounds(sae, block):
    found = tokens(sae, block).choose(FEATURES)
    dense = sae.encode(block.residuals[LAYER]).numpy()
    for f in (1, 6):
        mine = (found.feature_id == f) & (found.kind == "quantile")
        assert found.rank[mine].tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(found.quantile[mine], [0.2, 0.4, 0.6, 0.8, 1.0])
        positive = np.sort(dense[dense[:, f] > 0, f])
        assert len(positive) > 50
        # Fewer active tokens than the sample holds: the bands are those of all of them.
        bands = np.arange(len(positive)) * 5 // len(positive)
        for band, value in enumerate(found.activation[mine]):
            assert positive[bands == band].min() <= value <= positive[bands == band].max()
    assert np.isnan(found.quantile[found.kind != "quantile"]).all()


def test_random_examples_are_active_tokens_drawn_without_repetition(sae, block):
    found = tokens(sae, block).choose(FEATURES)
    dense = sae.encode(block.residuals[LAYER]).numpy()
    for f in (1, 6):
        mine = np.flatnonzero((found.feature_id == f) & (found.kind == "random"))
        assert len({(found.sequence_id[i], found.position[i]) for i in mine}) == 4
        for i in mine:
            row = (block.sequence_id == found.sequence_id[i]) & (block.position == found.position[i])
            assert dense[row, f] == found.activation[i] > 0


def test_another_seed_draws_other_random_tokens_and_the_same_top(sae, block):
    one, other = (ExampleTokens(sae, LAYER, 3, 4, 5, seed=seed).update(block).choose(FEATURES) for seed in (0, 1))
    top, drawn = one.kind == "top", one.kind == "random"
    np.testing.assert_array_equal(one.position[top], other.position[top])
    assert (one.position[drawn] != other.position[drawn]).any()
    with pytest.raises(MismatchError):
        ExampleTokens(sae, LAYER, seed=0) + ExampleTokens(sae, LAYER, seed=1)


def test_block_size_order_and_merging_change_no_example_and_no_window(sae, block):
    expected = tokens(sae, block).choose(FEATURES)
    parts = parts_of(block, 6)
    for other in (tokens(sae, *parts), tokens(sae, *parts[2:]) + tokens(sae, *parts[:2])):
        for name, values in vars(other.choose(FEATURES)).items():
            np.testing.assert_array_equal(values, getattr(expected, name), err_msg=name)
    whole = windows(sae, expected, block)
    for other in (
        windows(sae, expected, *parts),
        windows(sae, expected, *parts[2:]) + windows(sae, expected, *parts[:2]),
    ):
        for a, b in zip(other.result(), whole.result(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def windows(sae: SparseAutoencoder, examples, *blocks: ResidualBlock) -> ExampleWindows:
    lengths = dict.fromkeys(range(40, 52), LENGTH)
    read = ExampleWindows(sae, LAYER, examples, lengths, before=6, after=3)
    for part in blocks:
        read.update(part)
    return read


def test_windows_are_cut_at_the_ends_and_hold_the_activation_at_every_token(sae, block):
    examples = tokens(sae, block, counts=(12, 20, 0)).choose(FEATURES)
    found = windows(sae, examples, block)
    dense = np.zeros((12, LENGTH, D_SAE), dtype=np.float32)
    dense[block.sequence_id - 40, block.position] = sae.encode(block.residuals[LAYER]).numpy()
    cut = 0
    for i, activations in enumerate(found.result()):
        p, s, f = examples.position[i], examples.sequence_id[i], examples.feature_id[i]
        start, end = max(0, p - 6), min(LENGTH, p + 4)
        cut += end - start < 10
        assert (found.start[i], found.end[i]) == (start, end)
        np.testing.assert_allclose(activations, dense[s - 40, start:end, f], rtol=1e-6)
        assert activations[p - start] == pytest.approx(examples.activation[i])
    assert cut


def test_fewer_active_tokens_than_asked_for_give_fewer_examples(sae, block):
    few = block.select(np.arange(block.n) < 3)
    found = tokens(sae, few, counts=(3, 9, 4)).choose(np.arange(D_SAE))
    active = (sae.encode(few.residuals[LAYER]) > 0).sum(0).numpy()
    for f in range(D_SAE):
        counts = {kind: int(((found.feature_id == f) & (found.kind == kind)).sum()) for kind in np.unique(found.kind)}
        assert counts.get("random", 0) == active[f]
        assert counts.get("quantile", 0) == min(active[f], 4)
        assert counts.get("top", 0) == min(active[f], 1)


def test_nothing_selected_gives_no_example(sae, block):
    found = tokens(sae, block).choose(np.zeros(0, dtype=int))
    assert len(found) == 0
    assert windows(sae, found, block).result() == []


def test_a_feature_beyond_the_sae_and_other_saes_are_refused(sae, block):
    with pytest.raises(InputError, match="features 0 to 7"):
        tokens(sae, block).choose(np.array([D_SAE]))
    other = SparseAutoencoder("standard", sae.W_enc * 2, sae.b_enc, sae.W_dec, sae.b_dec)
    with pytest.raises(MismatchError):
        tokens(sae, block) + tokens(other, block)
    some, all_ = tokens(sae, block).choose(FEATURES[:1]), tokens(sae, block).choose(FEATURES)
    with pytest.raises(MismatchError):
        windows(sae, some) + windows(sae, all_)
