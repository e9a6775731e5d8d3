"""The position-matched null: documents shuffled, positions kept."""

from collections import Counter

import numpy as np
import pytest
import torch

from ato.errors import DataError
from ato.moments import Moments
from ato.residuals import MemorySource
from ato.residuals.pairing import PairedSource, PermutedSource
from ato.residuals.position_policies import permuted_key, source_key
from tasks.collect.moments import MomentsPass
from tasks.settings import OperatorSettings
from tests.planted_pairs import LENGTH, N_FOLDS, PAIR, D, planted, r2, r2_under


def position_effect(n_documents, size, seed=0):
    """y = size * effect of position + what x holds + noise; x holds its position's effect too."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=(LENGTH, D))
    own = rng.normal(size=(n_documents, LENGTH, D))
    x = own + size * effect
    y = size * effect + own
    return MemorySource(
        {layer: torch.from_numpy(v.reshape(-1, D).astype(np.float32)) for layer, v in ((1, x), (4, y))},
        document=np.repeat(np.arange(n_documents), LENGTH),
        group=np.repeat(np.arange(n_documents) % (N_FOLDS + 2), LENGTH),
        n_folds=N_FOLDS,
        block_rows=50 * LENGTH,
        position=np.tile(np.arange(LENGTH), n_documents),
    ), size * effect


def test_documents_shuffled_explain_exactly_what_position_explains():
    source, effect = position_effect(500, size=1.0)
    permuted = PermutedSource(source, [PAIR])
    # Population truth: x' and y share the effect alone, so C_xy = C_effect and C_xx = C_yy = C_effect + I.
    c = np.cov(effect.T, bias=True)
    b = np.linalg.solve(c + np.eye(D), c)
    truth = np.mean(np.diag(c @ b) / np.diag(c + np.eye(D)))
    assert 0.1 < truth < 0.9
    assert r2(permuted, permuted_key(1)) == pytest.approx(truth, abs=0.03)
    assert r2_under(source, "same") > 0.999


def test_documents_shuffled_explain_nothing_of_a_signal_that_knows_no_position():
    source, _ = position_effect(500, size=0.0)
    assert abs(r2(PermutedSource(source, [PAIR]), permuted_key(1))) < 0.02
    assert r2_under(source, "same") > 0.999


def test_mean_squared_correlation_of_permuted_tokens_is_d_over_n_minus_one():
    d, found, n = 40, [], 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.normal(size=(400, d)).astype(np.float32))
        source = MemorySource({1: x, 4: x}, document=np.arange(400) // 10, position=np.arange(400) % 10)
        (block,) = PermutedSource(source, [PAIR], seed=seed).blocks()
        a, b = (block.residuals[key].double().numpy() for key in (permuted_key(1), 4))
        n = block.n
        q = [np.linalg.qr(v - v.mean(0))[0] for v in (a, b)]
        found.append(np.linalg.norm(q[0].T @ q[1]) ** 2 / d)
    assert n == 400
    assert np.mean(found) == pytest.approx(d / (n - 1), rel=0.06)


def test_partners_are_of_other_documents_of_the_same_split_at_the_same_position_and_used_once():
    rng = np.random.default_rng(3)
    sizes, document, position, sequence = [3, 1, 2, 1, 4, 2, 2], [], [], []
    for number, size in enumerate(sizes):
        for _ in range(size):
            length = int(rng.integers(3, 12))
            document += [number] * length
            position += range(length)
            sequence += [max(sequence, default=-1) + 1] * length
    n = len(document)
    label = torch.arange(n).float()[:, None]
    group = np.array([0, 1, 2, 3, 3, 4, 4])[document]  # train folds 0-2; val 3; test 4
    source = MemorySource(
        {1: label, 4: label}, document=document, group=group, n_folds=3, sequence_id=sequence, position=position
    )
    permuted = PermutedSource(source, [PAIR], seed=5)
    (block,) = permuted.blocks()
    document, position, group = map(np.asarray, (document, position, group))
    y, x = (block.residuals[key][:, 0].numpy().astype(int) for key in (4, permuted_key(1)))
    assert (document[x] != document[y]).all()
    assert (position[x] == position[y]).all()
    assert (np.maximum(group[x], 2) == np.maximum(group[y], 2)).all()
    assert len(set(x)) == len(x)
    # All sequences of train and test, and two of val, where one document has four of five.
    assert len(np.unique(block.sequence_id)) == 6 + 2 + 4
    assert set(group[x]) == {0, 1, 2, 3, 4}
    assert permuted.unpaired.total() == n - block.n
    np.testing.assert_array_equal(block.document, document[y])


def test_blocks_of_one_document_have_no_partner_and_a_source_of_them_is_refused():
    x = torch.randn(30, 3)
    source = MemorySource({1: x, 4: x}, sequence_id=np.arange(30) // 10, position=np.arange(30) % 10)
    with pytest.raises(DataError, match=r"documents shuffled.*collect more documents"):
        list(PermutedSource(source, [PAIR]).blocks())
    group = np.repeat([0, 0, 4], 10)  # the only document of the last split has no partner
    two = MemorySource({1: x, 4: x}, document=np.arange(30) // 10, position=np.arange(30) % 10, group=group, n_folds=3)
    permuted = PermutedSource(two, [PAIR])
    assert [block.n for block in permuted.blocks()] == [20]
    assert permuted.unpaired == Counter({"test": 10})


def test_small_blocks_are_joined_before_documents_are_shuffled_alike_on_every_pass():
    rng = np.random.default_rng(0)
    n = 9000
    x = torch.arange(n).float()[:, None]
    group = np.repeat(rng.permutation([0, 1, 2, 3, 4] * 18), 100)
    for rows in (10, 100, 700):  # one sequence, one document, many documents a block
        group = np.sort(np.maximum(group, 2)) if rows < 700 else group
        source = MemorySource(
            {1: x, 4: x},
            document=np.arange(n) // 100,
            sequence_id=np.arange(n) // 10,
            position=np.arange(n) % 10,
            group=group,
            n_folds=3,
            block_rows=rows,
        )
        permuted = PermutedSource(source, [PAIR])
        found = {}
        for splits in (None, ["test"]):
            blocks = list(permuted.blocks(splits=splits))
            assert max(block.n for block in blocks) < 4096 + rows
            of_test = [np.flatnonzero(block.group == 4) for block in blocks]
            pairs = [
                torch.stack([b.residuals[4], b.residuals[permuted_key(1)]])[:, i, 0] for b, i in zip(blocks, of_test)
            ]
            found[splits is None] = torch.cat(pairs, dim=1)
        assert found[True].shape[1] > 0.9 * (group == 4).sum()
        if rows < 700:  # blocks of one split each, as shards and batches are
            assert torch.equal(found[True], found[False])


def test_the_null_of_a_paired_source_permutes_what_the_policy_chose():
    source = planted(60, move=lambda rng, j: (np.array([max(j - 1, 0)]), np.ones(1)))
    paired = PairedSource(source, [PAIR], "previous")
    key = source_key(*PAIR, "previous")
    permuted = PermutedSource(paired, [(key, 4)])
    assert permuted_key(key) not in {key, permuted_key(1), 4}
    assert r2(paired, key) > 0.999
    assert abs(r2(permuted, permuted_key(key))) < 0.2


def test_the_study_gathers_the_moments_of_the_permuted_rows_without_copying_them():
    source, _ = position_effect(60, size=1.0)
    settings = OperatorSettings(source_layers=[1], leaps=[3], train_fractions=[], permutation_null=True)
    gathered = MomentsPass(source, settings)
    plain = Moments([(permuted_key(1), 4)], n_folds=1)
    permuted = PermutedSource(source, [PAIR])
    for block in source.blocks():
        gathered.update(block)
        train = permuted.pair(block.select(block.group < N_FOLDS))
        plain.update(train.residuals, fold=0)
    found, keys = gathered.moments.permuted_pair(*PAIR)
    a, b = found.summary(*keys, ["train-0"]), plain.summary(permuted_key(1), 4, ["train-0"])
    assert a.n == b.n > 0
    for name in ("mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9)
