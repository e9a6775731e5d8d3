"""Encodes the activations of a shard: its layers' files differ only in norms and residuals, which are stored plain.

Arrow spends more time on the nesting levels of fixed-size lists (identical for every value) than the disk on writing
them. So one file per shard is encoded; the files of the other layers are copies with two byte ranges replaced. The mark
in such a file says where its residuals are, so that readers need not decode the levels either.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.datasets.plain_residuals import WIDTH
from warehouse.storage.parquet import to_table, write_parquet
from warehouse.tables import TABLES

_TABLE = TABLES["activations"]


class ShardEncoder:
    """Files of the table ``activations`` for the layers of one shard.

    Args:
        keys: the columns that the layers share: sequence_id, position and token_id, each [n].
        norm: [n] float32, of one of the layers.
        residual: [n, d] float32, of that layer.
    """

    def __init__(self, keys: Mapping[str, np.ndarray], norm: np.ndarray, residual: np.ndarray):
        self._keys = dict(keys)
        encoded = self._encode(norm, residual, {WIDTH: str(residual.shape[1])})
        self._places = _places(encoded, norm, residual)
        cuts = [0, *(cut for place in self._places or () for cut in place), len(encoded)]
        self._shared = [encoded[a:b].tobytes() for a, b in zip(cuts[::2], cuts[1::2])] if self._places else []

    def parts(self, norm: np.ndarray, residual: np.ndarray) -> list[Any]:
        """The file of a layer as a list of buffers, without copying the arrays.

        Args:
            norm: [n] float32.
            residual: [n, d] float32, contiguous.
        """
        if self._places is None:
            return [self._encode(norm, residual)]
        head, between, tail = self._shared
        return [head, norm, between, residual, tail]

    def _encode(self, norm: np.ndarray, residual: np.ndarray, mark: Mapping[bytes, str] | None = None) -> np.ndarray:
        partition = {name: 0 for name in _TABLE.partition}
        data = to_table(_TABLE, self._keys | {"norm": norm, "residual": residual}, partition)
        stream = pa.BufferOutputStream()
        write_parquet(_TABLE, data.replace_schema_metadata(mark), stream)
        return np.frombuffer(stream.getvalue(), dtype=np.uint8)


def _places(encoded: np.ndarray, norm: np.ndarray, residual: np.ndarray) -> list[tuple[int, int]] | None:
    """Byte ranges (start, end) of both columns in the file; None if a column is not contiguous."""
    group = pq.read_metadata(pa.BufferReader(encoded)).row_group(0) if len(norm) else None
    if group is None:
        return None
    columns = [group.column(number) for number in range(group.num_columns)]
    ends = {c.path_in_schema.split(".")[0]: c.data_page_offset + c.total_compressed_size for c in columns}
    places = []
    for name, values in (("norm", norm), ("residual", residual)):
        start = ends[name] - values.nbytes  # plain values are the end of the column's only page
        if start < 0 or not np.array_equal(encoded[start : ends[name]].view(np.uint8), _bytes(values)):
            return None
        places.append((start, ends[name]))
    return places


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
