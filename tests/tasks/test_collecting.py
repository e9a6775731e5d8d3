"""Shards: one split each, in the order of the stream, nothing lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ato.text import Sequence
from tasks.collecting import shards_by_split
from tasks.saes import spread


def sequence(number: int, split: str) -> Sequence:
    fold = 0 if split == "train" else None
    return Sequence(number, f"{number:016x}", number, split, fold, 0, np.zeros(3, dtype=np.int32), "")


@given(st.lists(st.sampled_from(["train", "val", "test"]), max_size=60), st.integers(1, 9))
def test_every_sequence_is_in_one_shard_of_its_split_and_numbered_in_order(splits, size):
    stream = [sequence(i, split) for i, split in enumerate(splits)]
    shards = list(shards_by_split(iter(stream), size))
    assert all(len({s.split for s in shard}) == 1 and len(shard) <= size for shard in shards)
    assert [s.sequence_id for shard in shards for s in shard] == list(range(len(stream)))
    assert sorted(s.document for shard in shards for s in shard) == list(range(len(stream)))
    for split in set(splits):
        documents = [s.document for shard in shards for s in shard if s.split == split]
        assert documents == sorted(documents)


@given(st.integers(1, 50), st.integers(1, 60))
def test_spread_takes_distinct_items_over_the_whole_range(n_items, n):
    chosen = spread(list(range(n_items)), n)
    assert len(chosen) == min(n, n_items)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert n == 1 or chosen[-1] == n_items - 1
