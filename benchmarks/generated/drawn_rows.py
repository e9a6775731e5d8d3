"""Rows of any table: columns that are given, and the others drawn at random within their declared ranges."""

from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.generated.rows import STARTED
from benchmarks.generated.saes import N_EXPLAINED
from benchmarks.generated.studies import study_key
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES
from warehouse.tables.declarations import Column

LIST_LENGTH = 8
STATED = "reason"
"""What says why something is missing: nothing is."""
Rows = list[tuple[str, int, dict[str, Any]]]
"""(table, number of rows, columns with a value or with one value a row) of one run of a stage."""


def write_drawn(
    warehouse: Warehouse, rng: np.random.Generator, part: str, table: str, n: int, given: dict[str, Any]
) -> Any:
    """Write rows of a table; what is not given is drawn at random."""
    columns = {
        column.name: _spread(given[column.name], n) if column.name in given else _drawn(column, n, rng)
        for column in TABLES[table].columns
        if column.name != "collection"
    }
    extra = {name: given[name] for name in TABLES[table].partition[1:]}
    return warehouse.write_rows(table, columns, part, collection=study_key(0), **extra)


def _spread(value: Any, n: int) -> Any:
    return value if isinstance(value, np.ndarray) else [value] * n


def _drawn(column: Column, n: int, rng: np.random.Generator) -> Any:
    if column.name.endswith(STATED):
        return [None] * n
    return _values(column.type, n, rng, column.minimum, column.maximum)


def _values(type_: Any, n: int, rng: np.random.Generator, least: float | None, most: float | None) -> Any:
    if pa.types.is_list(type_):
        inner = _values(type_.value_type, n * LIST_LENGTH, rng, least, most)
        return pa.FixedSizeListArray.from_arrays(pa.array(inner, type_.value_type), LIST_LENGTH).cast(type_)
    if pa.types.is_string(type_):
        return np.char.add("word", rng.integers(0, 5_000, n).astype(str)).tolist()
    if pa.types.is_boolean(type_):
        return rng.random(n) < 0.5
    if pa.types.is_timestamp(type_):
        return [STARTED] * n
    low = least if least is not None else 0 if most is None else most - 1
    if pa.types.is_floating(type_):
        return rng.uniform(low, low + 1 if most is None else most, n)
    return rng.integers(int(low), int(low) + 100, n)


def sae_of(layer: int) -> str:
    """Key of a layer's SAE."""
    return f"sae-layer{layer:02d}"


def every(*counts: int) -> list[np.ndarray]:
    """Every combination of numbers below ``counts``, a column each."""
    return [axis.ravel() for axis in np.meshgrid(*(np.arange(n, dtype=np.int32) for n in counts), indexing="ij")]


def names_of(names: Any, numbers: np.ndarray) -> np.ndarray:
    """A name for each number."""
    return np.array(names, dtype=object)[numbers]


def n_chosen(n: int) -> int:
    """Features that stages look at one by one."""
    return max(n // N_EXPLAINED, 4)


def numbered_names(what: str, numbers: np.ndarray) -> np.ndarray:
    """Names that differ in their number."""
    return np.char.add(f"{what} ", numbers.astype(str)).astype(object)
