"""The table ``sequences``: what was written comes back, whole, in order."""

from dataclasses import asdict

import numpy as np
import pytest

from ato.errors import DamagedFileError
from warehouse.datasets import sequences
from warehouse.datasets.sequences import read_shard, stored_sequences, write_sequences


def sequence(number, split, fold=None):
    """A sequence of two tokens and their text."""
    ids = np.array([number, number + 1], dtype=np.int32)
    return sequences.TokenSequence(number, f"{number:016x}", number // 2, split, fold, 0, ids, f"text {number}")


def as_values(found):
    return [asdict(one) | {"token_ids": one.token_ids.tolist()} for one in found]


@pytest.fixture
def shards(store, commit_files):
    """Two shards of a complete collection; the sequences and the files."""
    written = [[sequence(0, "train", 1), sequence(1, "val")], [sequence(2, "test"), sequence(3, "train", 0)]]
    files = [write_sequences(store, "c", number, shard) for number, shard in enumerate(written)]
    commit_files(store, files, "collect", "c", "c")
    return written, files


def test_a_shard_comes_back_as_it_was_written(store, shards):
    for written, file in zip(*shards):
        found = read_shard(store, file)
        assert as_values(found) == as_values(written)
        assert all(one.token_ids.dtype == np.int32 for one in found)


def test_sequences_of_the_wanted_splits_come_in_order(store, shards):
    written = [one for shard in shards[0] for one in shard]
    assert as_values(stored_sequences(store, "c")) == as_values(written)
    assert [one.sequence_id for one in stored_sequences(store, "c", ["test", "val"])] == [1, 2]
    assert stored_sequences(store, "another") == []


def test_a_truncated_shard_is_a_damaged_file(store, shards):
    file = shards[1][0]
    path = store.storage.url(file.path)
    with open(path, "r+b") as stored:
        stored.truncate(file.bytes // 2)
    with pytest.raises(DamagedFileError, match="sequences cannot be read"):
        read_shard(store, file)
