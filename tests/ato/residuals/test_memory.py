"""Sources over what is there already: blocks in order, splits and layers as asked for."""

import numpy as np
import pytest
import torch

from ato.errors import LayerError
from ato.residuals import MemorySource, ResidualSource
from ato.residuals.attended import Attended
from ato.residuals.memory import FirstTokens

LAYER = 3


def test_blocks_are_the_rows_in_order_with_all_their_keys():
    n, rng = 25, np.random.default_rng(0)
    x = {layer: rng.normal(size=(n, 2)) for layer in (5, LAYER)}  # float64 becomes float32
    document, group, position = np.arange(n) // 4, np.arange(n) % 4, rng.permutation(n)
    attended = Attended(np.arange(n)[:, None].astype(np.int32), np.ones((n, 1), np.float32))
    source = MemorySource(
        x, document=document, group=group, n_folds=2, block_rows=10, position=position, attended={5: attended}
    )
    assert isinstance(source, ResidualSource)
    assert (source.layers, source.d_model, source.n_folds) == ((LAYER, 5), 2, 2)
    start = 0
    for block in source.blocks():
        rows = slice(start, start + block.n)
        assert block.n == min(10, n - start)
        for layer in (LAYER, 5):
            assert torch.equal(block.residuals[layer], torch.tensor(x[layer][rows], dtype=torch.float32))
        np.testing.assert_array_equal(block.document, document[rows])
        np.testing.assert_array_equal(block.sequence_id, document[rows])
        np.testing.assert_array_equal(block.position, position[rows])
        np.testing.assert_array_equal(block.group, group[rows])
        np.testing.assert_array_equal(block.attended[5].positions[:, 0], np.arange(n)[rows])
        start += block.n
    assert start == n


def test_only_the_layers_and_splits_that_were_asked_for_come():
    n = 24
    source = MemorySource(
        {1: torch.arange(n)[:, None], 2: torch.zeros(n, 1)}, group=np.arange(n) % 4, n_folds=2, block_rows=3
    )
    for splits, groups in ((["train"], {0, 1}), (["val"], {2}), (["test", "train"], {0, 1, 3}), ([], set())):
        blocks = list(source.blocks([1], splits))
        assert all(block.layers == (1,) for block in blocks)
        rows = [int(x) for block in blocks for x in block.residuals[1][:, 0]]
        assert rows == [row for row in range(n) if row % 4 in groups]
    with pytest.raises(LayerError, match=r"layers \[7\].*choose from \[1, 2\]"):
        list(source.blocks([1, 7]))


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
