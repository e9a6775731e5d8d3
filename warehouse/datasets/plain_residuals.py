"""Residuals of a layer's file, copied as they lie in it, where they do in one piece.

Arrow decodes the nesting levels of a fixed-size list value by value, which takes several times as long as reading the
values. ``ShardEncoder`` marks files whose residuals are plain and in one page; any other file is left to Arrow.
"""

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

WIDTH = b"ato.plain_residual_width"
"""Entry of a file's metadata: the residuals are the end of the last column's only page, with this many values a row."""


@dataclass(frozen=True)
class PlainResiduals:
    """Residuals and keys of one file."""

    residual: torch.Tensor
    """[n, d] float32."""
    keys: bytes
    """The columns before the norm as they are encoded: sequence_id, position and token_id."""


def read_plain(path: str) -> PlainResiduals | None:
    """The residuals of a local file of the table ``activations``; None if the file is not marked.

    Raises:
        OSError: the file cannot be read.
        pyarrow.ArrowException: it is no Parquet file, or the residuals are not where it says.
    """
    metadata = pq.read_metadata(path)
    width = (metadata.metadata or {}).get(WIDTH)
    if width is None or metadata.num_row_groups != 1:
        return None
    n, d, group = metadata.num_rows, int(width), metadata.row_group(0)
    norm, column = group.column(group.num_columns - 2), group.column(group.num_columns - 1)
    end = column.data_page_offset + column.total_compressed_size
    x = np.empty((n, d), np.float32)  # large arrays of NumPy lie in huge pages: fewer page faults than torch.empty
    if end - x.nbytes < column.data_page_offset:
        raise pa.ArrowInvalid("residuals are not where the file says")
    with open(path, "rb", buffering=0) as file:
        keys = file.read(norm.data_page_offset)
        file.seek(end - x.nbytes)
        if _fill(file, x.data.cast("B")) < x.nbytes:
            raise pa.ArrowInvalid("residuals are not where the file says")
    return PlainResiduals(torch.from_numpy(x), keys)


def _fill(file: io.FileIO, target: memoryview) -> int:
    """Read into a buffer until it is full or the file ends; returns the bytes read."""
    filled = 0
    while filled < len(target) and (more := file.readinto(target[filled:])):  # one call reads at most 2 GiB
        filled += more
    return filled
