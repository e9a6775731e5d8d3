"""Batches come in a random order, every token in its turn, from a bounded buffer."""

import numpy as np
import torch

from ato.saes.training.shuffle_buffer import ShuffleBuffer
from tests.ato.saes.training.planted import LAYER, source_of


def test_a_train_split_that_fits_is_permuted_anew_each_epoch():
    x = np.arange(500.0)[:, None].repeat(2, 1)
    buffer = ShuffleBuffer(source_of(x, block_rows=64), LAYER, rows=1000, batch_size=100, seed=0)
    batches = buffer.batches()
    epochs = [torch.cat([next(batches)[:, 0] for _ in range(4)]) for _ in range(2)]
    train_rows = [i for i in range(500) if i % 5 != 4]
    for epoch in epochs:
        assert sorted(epoch.int().tolist()) == train_rows
    assert not torch.equal(*epochs)


def test_a_larger_split_streams_through_a_bounded_buffer_and_every_token_gets_its_turn():
    x = np.arange(1000.0)[:, None].repeat(2, 1)
    buffer = ShuffleBuffer(source_of(x, block_rows=64), LAYER, rows=200, batch_size=20, seed=0)
    batches = buffer.batches()
    drawn = torch.cat([next(batches)[:, 0] for _ in range(800)]).int().numpy()  # 20 epochs
    assert len(buffer.rows) == 200
    counts = np.bincount(drawn, minlength=1000)
    assert not counts[4::5].any()  # test rows
    kept = np.delete(counts, np.s_[4::5])
    assert kept.min() >= 17
    assert kept.max() <= 21
    first = drawn[:20]
    assert not (np.diff(first) > 0).all()
