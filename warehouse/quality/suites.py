"""Great Expectations suites derived from the declarations: checks of single rows."""

import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ato.causal.intervention_names import FEATURE_INTERVENTIONS, INTERVENTIONS, NONE
from ato.models.sites import SITES
from warehouse.tables import Table
from warehouse.tables.lists import ACTIONS, KINDS, LIST_CHANGES

if TYPE_CHECKING:
    import pandas as pd

MAX_EXAMPLES = 5
FINITE = "is finite"

CAUSAL_EDITS = (NONE, *INTERVENTIONS, *FEATURE_INTERVENTIONS)

VALUE_SETS: dict[tuple[str, str], tuple[str, ...]] = {
    ("sequences", "split"): ("train", "val", "test"),
    ("feature_transport", "verdict"): ("transported", "computed", "undetermined"),
    ("feature_transport_averages", "features"): ("all", "selected"),
    ("feature_transport_averages", "statistic"): (
        "mean_r2",
        "share_transported",
        "share_computed",
        "share_undetermined",
    ),
    ("feature_transport_differences", "features"): ("all", "selected"),
    ("stage_runs", "quality"): ("passed", "failed"),
    ("collections", "site"): SITES,
    ("saes", "site"): SITES,
    ("feature_examples", "kind"): ("top", "quantile", "random"),
    ("explanations", "source"): ("neuronpedia", "judge"),
    (LIST_CHANGES, "action"): ACTIONS,
    (LIST_CHANGES, "kind"): KINDS,
    ("causal_perplexity", "intervention"): CAUSAL_EDITS,
    ("causal_effects", "intervention"): CAUSAL_EDITS,
}
"""(table, column) -> its allowed values."""

_MISSING, _NOT_FINITE = "missing", "not_finite"
"""Columns of the checked frame: names of the columns in which a row is wrongly NULL, or not finite."""
_gx_lock = threading.Lock()


@dataclass(frozen=True)
class Finding:
    """One check and its result."""

    table: str
    expectation: str
    """The condition, as text that follows the column's name."""
    column: str | None
    n_checked: int
    n_unexpected: int = 0
    examples: tuple[Mapping[str, Any], ...] = ()
    """Keys of up to five failing rows."""

    @property
    def success(self) -> bool:
        """Whether no row fails."""
        return self.n_unexpected == 0

    def __add__(self, other: "Finding") -> "Finding":
        """The same check over both sets of rows."""
        return Finding(
            self.table,
            self.expectation,
            self.column,
            self.n_checked + other.n_checked,
            self.n_unexpected + other.n_unexpected,
            (*self.examples, *other.examples)[:MAX_EXAMPLES],
        )


@dataclass(frozen=True)
class Promise:
    """One check of each row that follows from a declaration."""

    text: str
    column: str | None
    kind: str
    """Class in ``great_expectations.expectations``."""
    arguments: Mapping[str, Any]

    @property
    def reads(self) -> set[str]:
        """Columns of the frame that it reads."""
        return {v for k, v in self.arguments.items() if k in ("column", "column_A", "column_B")}


def promises(table: Table) -> Iterator[Promise]:
    """All checks of single rows that follow from the declaration.

    Within the declared range, one of the allowed values, ends of an interval in order; not NULL unless declared
    nullable, and no NaN or infinity in any column of floats, at any depth.
    """
    names = {c.name for c in table.columns}
    for column in table.columns:
        name, low, high = column.name, column.minimum, column.maximum
        if column.type is None:
            continue
        if low is not None or high is not None:
            limits = {"column": name, "min_value": low, "max_value": high}
            yield Promise(_range_text(low, high), name, "ExpectColumnValuesToBeBetween", limits)
        if values := VALUE_SETS.get((table.name, name)):
            allowed = {"column": name, "value_set": list(values)}
            yield Promise(f"is one of {', '.join(values)}", name, "ExpectColumnValuesToBeInSet", allowed)
        if {f"{name}_low", f"{name}_high"} <= names:
            ends = {"column_A": f"{name}_high", "column_B": f"{name}_low", "or_equal": True}
            ends |= {"ignore_row_if": "either_value_is_missing"}
            text = f"is at most {name}_high"
            yield Promise(text, f"{name}_low", "ExpectColumnPairValuesAToBeGreaterThanB", ends)
    for text, marks in (("has a value wherever one is expected", _MISSING), (FINITE, _NOT_FINITE)):
        yield Promise(text, None, "ExpectColumnValuesToBeInSet", {"column": marks, "value_set": [""]})


def check_rows(table: Table, rows: pa.Table) -> list[Finding]:
    """Check rows [n] of a table against its suite in one validation; absent columns are not checked."""
    given = {*rows.column_names, _MISSING, _NOT_FINITE}
    wanted = [p for p in promises(table) if p.reads <= given]
    if rows.num_rows == 0:
        return [Finding(table.name, p.text, p.column, 0) for p in wanted]
    key = [name for name in table.key if name in given]
    with _gx_lock:
        results = _validate(_frame(table, rows), wanted, key)
    n = rows.num_rows
    return [Finding(table.name, p.text, p.column, n, *_unexpected(r, key, n)) for p, r in zip(wanted, results)]


def _range_text(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"is at least {minimum:g}"
    return f"is at most {maximum:g}" if minimum is None else f"lies in [{minimum:g}, {maximum:g}]"


def _frame(table: Table, rows: pa.Table) -> "pd.DataFrame":
    """The flat columns as pandas, and for each row the columns that are wrongly NULL, or not finite.

    Great Expectations treats NaN as NULL and would miss it in a nullable column; and one check for all columns costs a
    tenth of one per column.
    """
    missing, not_finite = (np.full(rows.num_rows, "", dtype=object) for _ in range(2))
    required = {c.name for c in table.columns if not c.nullable}
    flat = []
    for name, column in zip(rows.column_names, rows.columns):
        array = column.combine_chunks()
        if array.null_count and name in required:
            _mark(missing, np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)), name)
        _mark(not_finite, non_finite_rows(array), name)
        if not pa.types.is_nested(array.type):
            flat.append(name)
    return rows.select(flat).to_pandas().assign(**{_MISSING: missing, _NOT_FINITE: not_finite})


def _mark(marks: np.ndarray, places: np.ndarray, name: str) -> None:
    for place in places:
        marks[place] += f", {name}" if marks[place] else name


def non_finite_rows(array: pa.Array) -> np.ndarray:
    """Indices of the rows of an Arrow array that hold NaN or infinity, in lists of floats too; NULL is neither."""
    row_of: np.ndarray | None = None
    width = 1
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        row_of = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)) if array.null_count else None
        array = array.flatten()
    elif pa.types.is_list(array.type):
        row_of = pc.list_parent_indices(array).to_numpy()
        array = array.flatten()
    if not pa.types.is_floating(array.type):
        return np.empty(0, dtype=np.int64)
    values = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    # A finite sum has finite terms: one pass without a mask. A sum that overflows only costs the exact look.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return np.empty(0, dtype=np.int64)
    places = np.flatnonzero(~np.isfinite(values)) // width
    return np.unique(places if row_of is None else row_of[places])


def _validate(frame: "pd.DataFrame", wanted: list[Promise], key: list[str]) -> list[dict[str, Any]]:
    """The results of one suite, in order, with keys of failing rows.

    Collecting keys doubles the time, so only failed checks run again with keys.
    """
    frames = _frames()
    import great_expectations as gx
    from great_expectations import expectations as classes

    batch = frames.get_batch({"dataframe": frame})

    def run(numbers: list[int], result_format: dict[str, Any]) -> dict[int, Any]:
        chosen = [getattr(classes, wanted[n].kind)(**wanted[n].arguments, meta={"number": n}) for n in numbers]
        suite = gx.ExpectationSuite("declared", expectations=chosen)
        with _configured_once():
            results = batch.validate(suite, result_format=result_format).results
        return {r.expectation_config.meta["number"]: r for r in results if r.expectation_config}

    results = run(list(range(len(wanted))), {"result_format": "BASIC", "partial_unexpected_count": 0})
    if failed := [n for n, result in results.items() if not result.success]:
        summary = {"result_format": "SUMMARY", "partial_unexpected_count": MAX_EXAMPLES}
        results |= run(failed, summary | {"unexpected_index_column_names": key})
    return [results[n] for n in range(len(wanted))]


@contextmanager
def _configured_once() -> Iterator[None]:
    """Inside, the configuration of an expectation is made once; one at a time, as validations are (``_gx_lock``).

    Great Expectations makes it anew for every key that it looks up in it, a hundred times for each expectation: half of
    the time of a validation.
    """
    from great_expectations.expectations import expectation

    kind: Any = expectation.Expectation
    made: dict[int, tuple[Any, Any]] = {}

    def configuration(self: Any) -> Any:
        if id(self) not in made:
            made[id(self)] = self, make.fget(self)  # with the expectation itself, so that its id stays its own
        return made[id(self)][1]

    make = kind.configuration
    kind.configuration = property(configuration)
    try:
        yield
    finally:
        kind.configuration = make


@cache
def _frames() -> Any:
    """What becomes a batch with each frame, and keeps the last one until the next.

    One quiet in-memory context per process, since each makes a temporary folder; and one source, since each change of its
    sources makes the context write all of its configuration as YAML.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def _unexpected(result: Any, key: list[str], n_rows: int) -> tuple[int, tuple[Mapping[str, Any], ...]]:
    """Number of failing rows and up to five of their keys, with the failing value."""
    if result.success:
        return 0, ()
    if "unexpected_count" not in result.result:
        return n_rows, ({"error": f"could not be evaluated: {result.exception_info}"},)
    examples = result.result.get("partial_unexpected_index_list") or []
    return result.result["unexpected_count"], tuple({k: plain(v) for k, v in e.items()} for e in examples)


def plain(value: Any) -> Any:
    """A JSON-compatible value: numpy scalars as Python's; NaN and infinity as strings."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
