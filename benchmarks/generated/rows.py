"""Rows of any table: columns that are given, and for all others NULL or the least that is allowed."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.storage.warehouse import FileRecord
from warehouse.tables import TABLES

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first of the studies was made."""
N_SEQUENCES = 4_000
"""Sequences of a study."""

Study = dict[tuple[str, str], list[FileRecord]]
"""(stage, key) -> what it wrote."""
Write = Callable[..., FileRecord]
"""Writes rows of a table, its arguments being the table, their number, the name of the part and the columns."""


def rows_of(table: str, n: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of ``n`` rows: those given and declared (one value stands for all rows), else NULL or the least allowed."""
    filled = {c.name: None if c.nullable else _least(c.type, c.minimum) for c in TABLES[table].columns if c.type}
    return {
        name: values if isinstance(values, (list, np.ndarray, pa.Array)) and len(values) == n else [values] * n
        for name, values in (filled | columns).items()
        if name in filled and name != "collection"
    }


def _least(type_: pa.DataType, minimum: float | None) -> Any:
    if pa.types.is_string(type_):
        return ""
    if pa.types.is_list(type_) or pa.types.is_map(type_):
        return []
    if pa.types.is_boolean(type_):
        return False
    return float(minimum or 0) if pa.types.is_floating(type_) else int(minimum or 0)
