"""Reads one shard of stored residuals: a file a layer, and the sequences that its tokens belong to."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from ato.errors import DamagedFileError
from ato.residuals import Layer, ResidualBlock
from ato.residuals.attended import Attended
from ato.text.splits import in_splits
from warehouse.datasets.attended import COLUMNS, attended_of
from warehouse.datasets.plain_residuals import PlainResiduals, read_plain
from warehouse.storage.manifests import REBUILD
from warehouse.storage.warehouse import Warehouse

KEYS = ["sequence_id", "position", "token_id"]


@dataclass(frozen=True)
class Sequences:
    """Sequence attributes that residuals need, sorted by sequence id."""

    sequence_id: np.ndarray
    document: np.ndarray
    group: np.ndarray


@dataclass(frozen=True)
class Shard:
    """The files of one shard: layer -> path."""

    activations: dict[int, str]
    attended: dict[int, str]
    attention_top_k: int


def read_shard(
    warehouse: Warehouse,
    shard: Shard,
    sequences: Sequences,
    n_folds: int,
    splits: Collection[str] | None,
    readers: ThreadPoolExecutor,
) -> ResidualBlock | None:
    """The block of one shard, from the path of each layer; None, without reading residuals, if no row is in the splits."""
    files = shard.activations
    first = next(iter(files.values()))
    keys = read_columns(warehouse, first, KEYS)
    sequence_id, position, token_id = (keys[name].to_numpy() for name in KEYS)
    place = np.searchsorted(sequences.sequence_id, sequence_id).clip(max=len(sequences.sequence_id) - 1)
    if (sequences.sequence_id[place] != sequence_id).any():
        where = warehouse.storage.url(first)
        raise DamagedFileError("activations of sequences that are not in the collection", where=where, cure=REBUILD)
    group = sequences.group[place]
    rows = in_splits(group, splits, n_folds)
    if splits is not None and not rows.any():
        return None

    def read(path: str) -> tuple[torch.Tensor, bytes | None]:
        """Residuals, and the keys as they are encoded; None where they are found to be those of the first file."""
        if (plain := _plain(warehouse, path)) is not None:
            return plain.residual, plain.keys
        table = read_columns(warehouse, path, [*KEYS, "residual"])
        check(path, table)
        return _tensor(table["residual"]), None

    def check(path: str, table: pa.Table) -> None:
        if not table.select(KEYS).equals(keys):
            where = warehouse.storage.url(path)
            raise DamagedFileError("tokens differ from the other layers of the shard", where=where, cure=REBUILD)

    def read_attended(path: str) -> Attended:
        attended = attended_of(read_columns(warehouse, path, COLUMNS), sequence_id, position, shard.attention_top_k)
        if attended is None:
            where = warehouse.storage.url(path)
            raise DamagedFileError("tokens differ from the activations of the shard", where=where, cure=REBUILD)
        return attended

    found = dict(zip(files.values(), readers.map(read, files.values())))
    for path, (_, encoded) in found.items():
        if encoded != found[first][1]:  # equal bytes are equal keys; others may still hold the same
            check(path, read_columns(warehouse, path, KEYS))
    residuals: dict[Layer, torch.Tensor] = {layer: found[path][0] for layer, path in files.items()}
    attended = dict(zip(shard.attended, readers.map(read_attended, shard.attended.values())))
    block = ResidualBlock(residuals, sequence_id, position, token_id, sequences.document[place], group, attended)
    return block if rows.all() else block.select(rows)


def read_columns(warehouse: Warehouse, path: str, columns: list[str]) -> pa.Table:
    """Columns of a file of a table.

    Raises:
        DamagedFileError: the file is missing or cannot be read.
    """
    with _readable(warehouse, path), pq.ParquetFile(warehouse.storage.open(path), memory_map=True) as parquet:
        # Threads pay off across files only: one column holds nearly all bytes of a file.
        return parquet.read(columns, use_threads=False)


def _plain(warehouse: Warehouse, path: str) -> PlainResiduals | None:
    """Residuals of a local file that need no decoding; None for any other file."""
    if not warehouse.storage.is_local:
        return None
    with _readable(warehouse, path):
        return read_plain(warehouse.storage.url(path))


@contextmanager
def _readable(warehouse: Warehouse, path: str) -> Iterator[None]:
    """Turn the errors of a file that cannot be read into DamagedFileError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        where = f"{warehouse.storage.url(path)}, {error}"
        raise DamagedFileError("file cannot be read", where=where, cure=REBUILD) from error


def read_sequences(warehouse: Warehouse, paths: Sequence[str], n_folds: int) -> Sequences:
    """What residuals need of the sequences in these files.

    Raises:
        DamagedFileError: a file cannot be read, or a sequence has no split or fold.
    """
    table = pa.concat_tables(
        read_columns(warehouse, path, ["sequence_id", "document", "split", "fold"]) for path in paths
    )
    table = table.sort_by("sequence_id")
    fold = pc.fill_null(table["fold"], -1).to_numpy()
    split = [pc.equal(table["split"], name).to_numpy() for name in ("train", "val", "test")]
    group = np.select(split, [fold, n_folds, n_folds + 1], default=-1).astype(np.int16)
    if (group < 0).any() or (fold >= n_folds).any():
        raise DamagedFileError("a sequence has no split or fold", where=paths[0], cure=REBUILD)
    return Sequences(table["sequence_id"].to_numpy(), table["document"].to_numpy(), group)


def _tensor(column: pa.ChunkedArray) -> torch.Tensor:
    """A column of residuals as a tensor [n, d] float32, without a copy if it is contiguous."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    from_dlpack: Callable[[pa.Array], torch.Tensor] = torch.from_dlpack
    return from_dlpack(array.flatten()).view(len(array), array.type.list_size)
