"""The table ``sequences``: written shard by shard before the model runs, and read back for later passes."""

import io
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ato.errors import DamagedFileError
from ato.text import TokenSequence
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import REBUILD
from warehouse.storage.warehouse import FileRecord, Warehouse

COLUMNS = ("sequence_id", "document_id", "document", "split", "fold", "start", "token_ids", "text")


def write_sequences(
    warehouse: Warehouse, collection: str, shard: int, sequences: Sequence[TokenSequence]
) -> FileRecord:
    """Write the sequences of one shard as one file."""
    columns = {name: [getattr(q, name) for q in sequences] for name in COLUMNS if name != "token_ids"}
    columns["token_ids"] = [np.asarray(q.token_ids, dtype=np.int32) for q in sequences]
    columns["n_tokens"] = [len(q.token_ids) for q in sequences]
    return warehouse.write_rows("sequences", columns, f"{shard:05d}", collection=collection)


def read_shard(warehouse: Warehouse, file: FileRecord) -> list[TokenSequence]:
    """The sequences of one shard, in order.

    Raises:
        DamagedFileError: the file is missing or truncated.
    """
    data = warehouse.storage.read(file.path)
    try:
        table = pq.ParquetFile(io.BytesIO(data or b"")).read(list(COLUMNS))
    except (pa.ArrowException, OSError) as error:  # a damaged footer is an OSError
        where = warehouse.storage.url(file.path)
        raise DamagedFileError("sequences cannot be read", where=where, cure=REBUILD) from error
    return [_sequence(row) for row in table.to_pylist()]


def stored_sequences(
    warehouse: Warehouse, collection: str, splits: Collection[str] = ("train", "val", "test")
) -> list[TokenSequence]:
    """All sequences of a complete collection in the given splits, in order.

    Raises:
        DamagedFileError: a file is missing or cannot be read.
    """
    sql = f"select {', '.join(COLUMNS)} from sequences where collection = ? and list_contains(?, split) order by sequence_id"
    return [_sequence(row) for row in rows(warehouse, sql, [collection, list(splits)])]


def document_sequences(warehouse: Warehouse, collection: str, document: int) -> list[TokenSequence]:
    """The sequences of one document of a complete collection, in order.

    Raises:
        DamagedFileError: a file is missing or cannot be read.
    """
    sql = f"select {', '.join(COLUMNS)} from sequences where collection = ? and document = ? order by sequence_id"
    return [_sequence(row) for row in rows(warehouse, sql, [collection, document])]


def _sequence(row: dict) -> TokenSequence:
    return TokenSequence(**row | {"token_ids": np.asarray(row["token_ids"], dtype=np.int32)})
