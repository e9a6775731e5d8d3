"""Residuals copied from where they lie: those that Arrow decodes, and only from files that say so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ato.errors import DamagedFileError
from warehouse.datasets import shard_files
from warehouse.datasets.plain_residuals import WIDTH, read_plain
from warehouse.datasets.stored_source import read_block, write_block


@pytest.fixture
def files(store, make_block, store_collection):
    """Paths of the files of two layers of a shard, by layer."""
    found = store_collection(store, [make_block(range(9), [1, 4], d=6)])
    return {i: Path(store.root, f.path) for i in (1, 4) for f in found if f"layer={i}/" in f.path}


def residuals(path):
    return np.stack(pq.ParquetFile(path).read(["residual"])["residual"].to_numpy())


def rewrite(path, change=lambda table: table, **options):
    """Write a file again, without the mark, as an older version of the program did."""
    table = change(pq.ParquetFile(path).read())
    pq.write_table(table.replace_schema_metadata(None), path, **options)


def test_they_are_those_that_arrow_decodes(files):
    for path in files.values():
        plain = read_plain(str(path))
        np.testing.assert_array_equal(plain.residual.numpy(), residuals(path))
        assert plain.residual.is_contiguous()
    assert len({read_plain(str(path)).keys for path in files.values()}) == 1


def test_a_shard_is_read_without_decoding_a_residual(files, store, monkeypatch):
    read = shard_files.read_columns

    def only_keys(warehouse, path, columns):
        assert "residual" not in columns
        return read(warehouse, path, columns)

    monkeypatch.setattr(shard_files, "read_columns", only_keys)
    block = read_block(store, "c", 0, (1, 4), 3)
    for layer, path in files.items():
        np.testing.assert_array_equal(block.residuals[layer].numpy(), residuals(path))


@pytest.mark.parametrize("unmarked", [(1,), (4,), (1, 4)])
@pytest.mark.parametrize("options", [{}, {"compression": "zstd", "row_group_size": 7}])
def test_files_of_older_versions_are_read_beside_new_ones(files, store, unmarked, options):
    expected = {layer: residuals(path) for layer, path in files.items()}
    for layer in unmarked:
        rewrite(files[layer], **options)
        assert read_plain(str(files[layer])) is None
    block = read_block(store, "c", 0, (1, 4), 3)
    for layer in files:
        np.testing.assert_array_equal(block.residuals[layer].numpy(), expected[layer])


@pytest.mark.parametrize("unmarked", [(), (1,), (4,), (1, 4)])
def test_a_layer_of_other_tokens_is_found(files, store, make_block, unmarked):
    def other_tokens(table):
        column = pa.array(np.arange(len(table), dtype=np.int32) + 7)
        return table.set_column(table.schema.get_field_index("token_id"), table.schema.field("token_id"), column)

    if unmarked:
        for layer in unmarked:
            rewrite(files[layer], other_tokens if layer == unmarked[0] else lambda table: table)
    else:
        block = make_block(range(9), [4], d=6)
        block.token_id[:] += 7
        write_block(store, "c", 0, block)
    with pytest.raises(DamagedFileError, match="tokens differ from the other layers"):
        read_block(store, "c", 0, (1, 4), 3)


def test_a_file_that_ends_before_its_residuals_is_damaged(files, store):
    table = pq.ParquetFile(files[4]).read()
    pq.write_table(table.replace_schema_metadata({WIDTH: "600"}), files[4])
    with pytest.raises(DamagedFileError, match="residuals are not where the file says"):
        read_block(store, "c", 0, (1, 4), 3)


def test_residuals_may_be_written_to(files):
    x = read_plain(str(files[1])).residual
    x += torch.ones_like(x)
    np.testing.assert_array_equal(x.numpy() - 1, (residuals(files[1]) + 1) - 1)
