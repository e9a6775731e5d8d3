"""Converts attended positions between dense arrays and the variable-length lists of the table ``attended``."""

from typing import Any

import numpy as np
import pyarrow as pa

from ato.residuals import ResidualBlock
from ato.residuals.attended import Attended
from ato.residuals.token_index import TokenIndex

COLUMNS = ["sequence_id", "position", "source_positions", "weights"]


def attended_columns(block: ResidualBlock, layer: int) -> dict[str, Any]:
    """Columns of the table for the tokens of a block at one layer."""
    attended = block.attended[layer]
    there = attended.positions >= 0  # [n, k]; the first few of each row
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(values[there]))

    return {
        "sequence_id": block.sequence_id,
        "position": block.position,
        "source_positions": lists(attended.positions),
        "weights": lists(attended.weights),
    }


def attended_of(table: pa.Table, sequence_id: np.ndarray, position: np.ndarray, k: int) -> Attended | None:
    """Attended positions of these tokens [n], in their order; None if the table holds other tokens.

    Args:
        table: the columns ``COLUMNS``, in any order of rows.
        sequence_id: [n].
        position: [n].
        k: positions kept for each token.
    """
    index = TokenIndex(table["sequence_id"].to_numpy(), table["position"].to_numpy())
    rows = index.rows(sequence_id, position)
    if len(rows) != table.num_rows or (rows < 0).any():
        return None
    positions = _dense(table["source_positions"], k, np.int32(-1))
    return Attended(positions[rows], _dense(table["weights"], k, np.float32(0))[rows])


def _dense(column: pa.ChunkedArray, k: int, absent: np.int32 | np.float32) -> np.ndarray:
    """[n, k], padded with ``absent``."""
    lists = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    dense = np.full((len(lists), k), absent)
    dense[np.arange(k) < np.diff(lists.offsets.to_numpy())[:, None]] = lists.flatten().to_numpy()
    return dense
