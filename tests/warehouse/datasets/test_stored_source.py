"""Stored residuals: bit for bit what was written, shard by shard, and no block from damaged or mixed files."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ato.errors import DamagedFileError, InputError, LayerError, NonFiniteError
from ato.residuals import ResidualSource, run_pass
from ato.residuals.attended import Attended
from ato.text.splits import group_names, in_splits
from tests.warehouse import conftest
from warehouse.datasets import shard_files
from warehouse.datasets.stored_source import StoredSource, read_block, write_block

KEYS = ("sequence_id", "position", "token_id", "document", "group")


def assert_same(found, expected):
    for name in KEYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.layers == expected.layers
    for layer in expected.layers:
        assert found.residuals[layer].dtype == torch.float32
        assert torch.equal(found.residuals[layer].view(torch.int32), expected.residuals[layer].view(torch.int32))


@pytest.fixture
def blocks(make_block):
    """Three shards of ten sequences, three layers, width 6."""
    return [make_block(range(10 * s, 10 * s + 10), [1, 4, 7], d=6, seed=s) for s in range(3)]


def test_blocks_come_back_bit_for_bit_in_shard_order_on_every_pass(store, blocks, store_collection):
    extremes = torch.tensor([-0.0, 0.0, 1e-45, -1e-38, 3e18, -3e18])
    blocks[0].residuals[4][0] = extremes
    store_collection(store, blocks)
    source = StoredSource(store.root, "c")
    assert isinstance(source, ResidualSource)
    assert (source.layers, source.d_model, source.n_folds) == ((1, 4, 7), 6, 3)
    assert len(group_names(source.n_folds)) == 5
    for _ in range(2):
        found = list(source.blocks())
        assert len(found) == 3
        for a, b in zip(found, blocks):
            assert_same(a, b)


def test_norms_are_stored_beside_the_residuals(store, make_block):
    block = make_block([0, 1], [1], d=6)
    (record,) = write_block(store, "c", 0, block)
    stored = pq.ParquetFile(Path(store.root, record.path)).read(["norm"])["norm"].to_numpy()
    np.testing.assert_allclose(stored, block.residuals[1].double().norm(dim=1).numpy(), rtol=1e-6)


def test_writing_a_block_again_gives_the_same_files(store, blocks):
    assert write_block(store, "c", 0, blocks[0]) == write_block(store, "c", 0, blocks[0])


@pytest.mark.parametrize("splits", [["test"], ["val", "train"], ["train", "val", "test"]])
def test_splits_select_the_same_rows_as_the_mask(store, blocks, store_collection, splits):
    store_collection(store, blocks)
    found = list(StoredSource(store, "c").blocks(layers=[7, 1], splits=splits))
    for a, b in zip(found, blocks):
        expected = b.select(in_splits(b.group, splits, 3))
        expected.residuals.pop(4)
        assert_same(a, expected)
        assert a.n < b.n or len(splits) == 3


def test_shards_without_rows_of_the_splits_are_not_read(store, make_block, store_collection, monkeypatch):
    # Sequence i has split i mod 5: shard 0 is all test (4, 9), shard 1 has no test row.
    store_collection(store, [make_block([4, 9], [1, 2], d=6), make_block([0, 1, 5], [1, 2], d=6)])
    source = StoredSource(store, "c")
    read, seen = shard_files.read_plain, []

    def spy(path):
        seen.append(path.split("/")[-1])
        return read(path)

    monkeypatch.setattr(shard_files, "read_plain", spy)
    assert [b.n for b in source.blocks(splits=["test"])] == [8]
    assert set(seen) == {"part-00000.parquet"}


def test_residuals_are_read_without_a_copy_from_arrow():
    values = np.arange(12, dtype=np.float32)
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(values), 4)])
    tensor = shard_files._tensor(column)
    assert tensor.shape == (3, 4)
    assert tensor.data_ptr() == values.ctypes.data


def test_a_shard_can_be_read_before_its_collection_is_complete(store, blocks, store_collection):
    files = store_collection(store, blocks[:1], quality="failed")
    assert_same(read_block(store, "c", 0, (1, 4, 7), 3), blocks[0])
    Path(store.root, files[1].path).unlink()
    with pytest.raises(DamagedFileError, match="cannot be read"):
        read_block(store, "c", 0, (1, 4, 7), 3)


def test_unknown_collections_layers_and_missing_activations_are_named(store, blocks, store_collection, commit_files):
    files = store_collection(store, blocks)
    with pytest.raises(InputError, match=r"no complete collection 'd'.*choose from \['c'\]"):
        StoredSource(store, "d")
    with pytest.raises(LayerError, match=r"has no layers \[2\].*choose from \[1, 4, 7\]"):
        StoredSource(store, "c").blocks(layers=[1, 2])
    commit_files(store, [f for f in files if f.table_name != "activations"], "collect", "c")
    with pytest.raises(InputError, match=r"without storing activations.*live"):
        StoredSource(store, "c")


def test_collections_of_failed_quality_cannot_be_read(store, blocks, store_collection):
    store_collection(store, blocks, quality="failed")
    with pytest.raises(InputError, match="no complete collection"):
        StoredSource(store, "c")


def test_damaged_files_are_named_before_and_during_a_pass(store, blocks, store_collection):
    files = [f for f in store_collection(store, blocks) if "layer=4" in f.path]
    source = StoredSource(store, "c")
    path = Path(store.root, files[1].path)
    path.write_bytes(b"\0" * files[1].bytes)
    passing = source.blocks()
    assert next(passing).n == 40
    with pytest.raises(DamagedFileError, match=r"layer=4/part-00001\.parquet.*run the `ato run` that made it again"):
        next(passing)
    os.truncate(path, 10)
    with pytest.raises(DamagedFileError, match=rf"10 bytes found, {files[1].bytes} expected"):
        StoredSource(store, "c")


def test_layers_of_other_tokens_are_refused(store, make_block, store_collection):
    block = make_block([0, 1], [1, 2], d=6)
    store_collection(store, [block])
    shifted = block.select(np.arange(block.n)[::-1] >= 0)
    shifted.residuals.pop(1)
    shifted.position[0] += 9
    write_block(store, "c", 0, shifted)
    with pytest.raises(DamagedFileError, match="tokens differ from the other layers"):
        list(StoredSource(store, "c").blocks())


def test_activations_of_unknown_sequences_are_refused(store, make_block, store_collection):
    store_collection(store, [make_block([0, 1], [1], d=6)])
    write_block(store, "c", 0, make_block([0, 9], [1], d=6))
    with pytest.raises(DamagedFileError, match="not in the collection"):
        list(StoredSource(store, "c").blocks())


def test_nan_is_refused_on_writing_and_found_by_the_pass_on_reading(store, make_block, store_collection):
    block = make_block([0, 1], [1, 2], d=6)
    store_collection(store, [block])
    block.residuals[2][5, 3] = torch.nan
    block = replace(block)  # norms are taken once a block
    with pytest.raises(NonFiniteError, match=r"layer 2 .*sequence 1, position 1"):
        write_block(store, "c", 0, block)
    path = Path(store.root, "activations/collection=c/layer=2/part-00000.parquet")
    table = pq.ParquetFile(path).read()
    values = block.residuals[2].numpy().reshape(-1)
    field = table.schema.field("residual")
    column = pa.FixedSizeListArray.from_arrays(pa.array(values, from_pandas=False), type=field.type)
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    source = StoredSource(store, "c")
    pq.write_table(table.set_column(4, field, column), path, **options)
    with pytest.raises(NonFiniteError, match=r"layer 2 .*sequence 1, position 1"):
        run_pass(source, [])


def attended(block, k=3, seed=0):
    """Attended positions of ragged number, from none to k."""
    rng = np.random.default_rng(seed)
    there = np.arange(k) < rng.integers(0, k + 1, block.n)[:, None]
    weights = -np.sort(-rng.random((block.n, k)), axis=1)
    positions = rng.integers(0, 4, (block.n, k))
    return Attended(np.where(there, positions, -1).astype(np.int32), np.where(there, weights, 0).astype(np.float32))


def with_attention(block):
    return replace(block, attended={4: attended(block), 7: attended(block, seed=1)})


def store_attention(store, blocks, store_collection, monkeypatch):
    row = conftest.collection_row(6, [1, 4, 7]) | {"settings": '{"attention_top_k": 3}'}
    monkeypatch.setattr(conftest, "collection_row", lambda d, layers: row)
    return store_collection(store, blocks)


def test_attended_positions_come_back_beside_their_tokens(store, blocks, store_collection, monkeypatch):
    # Rows of a block need not be in the order of their keys.
    order = np.random.default_rng(0).permutation(blocks[0].n)
    mixed = [
        replace(
            b,
            residuals={layer: x[order] for layer, x in b.residuals.items()},
            **{name: getattr(b, name)[order] for name in KEYS},
        )
        for b in blocks
    ]
    written = [with_attention(block) for block in mixed]
    files = store_attention(store, written, store_collection, monkeypatch)
    assert sum(f.table_name == "attended" for f in files) == 6
    source = StoredSource(store, "c", [7, 4])
    assert source.attention_layers == (4, 7)
    for splits in (None, ["test", "val"]):
        for found, block in zip(source.blocks([1], splits), written, strict=True):
            expected = block.select(in_splits(block.group, splits, 3))
            assert found.layers == (1,)
            for layer in (4, 7):
                np.testing.assert_array_equal(found.attended[layer].positions, expected.attended[layer].positions)
                np.testing.assert_array_equal(found.attended[layer].weights, expected.attended[layer].weights)
                assert found.attended[layer].positions.dtype == np.int32
                assert found.attended[layer].weights.dtype == np.float32
    replayed = read_block(store, "c", 0, (1, 4, 7), 3, (4,), 3)
    assert_same(replayed, written[0])
    np.testing.assert_array_equal(replayed.attended[4].positions, written[0].attended[4].positions)


def test_attention_that_was_not_collected_or_is_of_other_tokens_is_refused(
    store, blocks, store_collection, monkeypatch
):
    written = [with_attention(block) for block in blocks]
    store_attention(store, written, store_collection, monkeypatch)
    with pytest.raises(LayerError, match=r"attention of blocks \[1\] was not collected \(c\): .*=\[1,4\] .*=eager"):
        StoredSource(store, "c", [1, 4])
    fewer = written[0].select(np.arange(written[0].n) > 0)
    write_block(store, "c", 0, replace(fewer, residuals={}, attended={4: fewer.attended[4]}))
    with pytest.raises(DamagedFileError, match=r"attended/.*layer=4/part-00000.*bytes"):
        StoredSource(store, "c", [4])
    with pytest.raises(DamagedFileError, match="tokens differ from the activations"):
        read_block(store, "c", 0, (1,), 3, (4,), 3)


def test_a_pass_that_is_given_up_ends_its_threads(store, blocks, store_collection):
    store_collection(store, blocks)
    before = set(threading.enumerate())
    passing = StoredSource(store, "c").blocks()
    next(passing)
    started = set(threading.enumerate()) - before
    passing.close()
    for thread in started:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in started)


def test_a_pass_can_be_given_up_while_threading_holds_its_own_lock(store, blocks, store_collection):
    # The garbage collector closes an abandoned pass at any moment, also inside the lock that joining a thread takes.
    store_collection(store, blocks)
    passing = StoredSource(store, "c").blocks()
    next(passing)
    with getattr(threading, "_shutdown_locks_lock", threading.Lock()):  # none from Python 3.13 on
        passing.close()
