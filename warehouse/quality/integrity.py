"""Checks files against their manifest: present, unaltered, of the declared schema, every number finite."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.catalog.mart_files import FOLDER, mart_file
from warehouse.quality.rules import partition_values
from warehouse.quality.suites import FINITE, MAX_EXAMPLES, Finding, non_finite_rows, plain
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES, Table

PRESENT = "every file exists with its recorded size"
UNALTERED = "every file has its recorded SHA-256"
READABLE = "every file has the declared schema"
Bad = tuple[str, int, list[dict[str, Any]]]
"""A column with NaN or infinity, the number of such rows, keys of the first ones."""
BATCH_BYTES = 8 << 20
"""Bytes per batch of a scan; bounds memory whatever the file size."""


def check_files(
    warehouse: Warehouse,
    table_name: str,
    files: Sequence[FileRecord],
    on_file: Callable[[FileRecord], None] | None = None,
) -> tuple[list[Finding], list[FileRecord]]:
    """Check files of one table (or ``artifacts``) against the manifest; also returns the sound files."""
    missing = warehouse.damage(files)
    altered: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    finite: list[Bad] = []
    sound: list[FileRecord] = []
    for file in files:
        if on_file is not None:
            on_file(file)
        found = warehouse.sha256(file.path)
        if found is None:
            continue
        if found != file.sha256:
            altered[file.path] = f"{found} found, {file.sha256} recorded"
        if table_name not in TABLES:
            finite += _scan_tensors(warehouse, file) if file.path.endswith(".safetensors") else []
            continue
        if problem := _schema_problem(warehouse, TABLES[table_name], file.path):
            unreadable[file.path] = problem
            continue
        finite += _scan(warehouse, TABLES[table_name], file.path)
        if file.path not in missing:
            sound.append(file)
    about = ((PRESENT, missing), (UNALTERED, altered), (READABLE, unreadable))
    findings = [_about_files(table_name, text, len(files), problems) for text, problems in about]
    return [*findings, *_about_values(table_name, files, finite)], sound


def check_mart_files(warehouse: Warehouse) -> list[Finding]:
    """Check the files of materialised marts, also outdated ones, against the size and SHA-256 in their names."""
    found = [file for path in warehouse.storage.names(FOLDER) if (file := mart_file(path)) is not None]
    digests = {file.path: warehouse.sha256(file.path) for file in found}
    altered = {f.path: f"{digests[f.path]} found, {f.sha256} recorded" for f in found if digests[f.path] != f.sha256}
    return [_about_files(FOLDER, UNALTERED, len(found), altered)] if found else []


def _about_files(table_name: str, text: str, n: int, problems: dict[str, str]) -> Finding:
    examples = [{"file": path, "problem": problem} for path, problem in problems.items()]
    return Finding(table_name, text, None, n, len(problems), tuple(examples[:MAX_EXAMPLES]))


def _about_values(table_name: str, files: Sequence[FileRecord], found: Iterable[Bad]) -> list[Finding]:
    """One finding per column with NaN or infinity; a single passed finding if there is none."""
    n = sum(f.rows for f in files)
    by_column: dict[str, Finding] = {}
    for column, count, examples in found:
        more = Finding(table_name, FINITE, column, 0, count, tuple(examples))
        by_column[column] = by_column.get(column, Finding(table_name, FINITE, column, n)) + more
    return list(by_column.values()) or [Finding(table_name, FINITE, None, n)]


def _schema_problem(warehouse: Warehouse, table: Table, path: str) -> str | None:
    """Why a Parquet file cannot be read as its table; None if it can."""
    try:
        found = pq.read_schema(warehouse.storage.open(path))
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0]
    declared = {c.name: c.type for c in table.columns if c.name not in table.partition}
    if missing := sorted(declared.keys() - set(found.names)):
        return f"columns {missing} are missing"
    if unknown := sorted(set(found.names) - declared.keys()):
        return f"columns {unknown} are not declared"
    for name, kind in declared.items():
        actual = found.field(name).type
        if kind is None:
            fits = pa.types.is_fixed_size_list(actual) and pa.types.is_float32(actual.value_type)
        else:
            fits = actual.equals(kind)
        if not fits:
            return f"column {name} is {actual}, expected {kind or 'a fixed-size list of float32'}"
    return None


def _has_floats(type_: pa.DataType) -> bool:
    listed = pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_)
    return pa.types.is_floating(type_.value_type if listed else type_)


def _scan(warehouse: Warehouse, table: Table, path: str) -> Iterator[Bad]:
    """The columns of a Parquet file with NaN or infinity, read batch by batch."""
    try:
        with pq.ParquetFile(warehouse.storage.open(path)) as file:
            schema = file.schema_arrow
            for column in (f.name for f in schema if _has_floats(f.type)):
                rows = _non_finite(file, column, _batch_rows(schema.field(column).type))
                if len(rows):
                    yield column, len(rows), _keys(file, table, path, rows[:MAX_EXAMPLES])
    except (pa.ArrowException, OSError) as error:
        yield "every column", 1, [{"file": path, "problem": str(error).splitlines()[0]}]


def _batch_rows(type_: pa.DataType) -> int:
    width = type_.list_size if pa.types.is_fixed_size_list(type_) else 16
    return max(1, BATCH_BYTES // (4 * width))


def _non_finite(file: pq.ParquetFile, column: str, batch_rows: int) -> np.ndarray:
    found, start = [], 0
    for batch in file.iter_batches(batch_rows, columns=[column]):
        found.append(non_finite_rows(batch.column(0)) + start)
        start += batch.num_rows
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _keys(file: pq.ParquetFile, table: Table, path: str, rows: np.ndarray) -> list[dict[str, Any]]:
    stored = [name for name in table.key if name not in table.partition]
    keys = file.read(columns=stored).take(pa.array(rows)).to_pylist() if stored else [{}] * len(rows)
    fixed = {"file": path, **partition_values(table, path)}
    return [fixed | {name: plain(value) for name, value in key.items()} for key in keys]


def _scan_tensors(warehouse: Warehouse, record: FileRecord) -> Iterator[Bad]:
    """The tensors of a safetensors file with NaN or infinity, one at a time."""
    import torch
    from safetensors import SafetensorError, safe_open

    local = warehouse.artifact_path(*record.path.split("/")[1:])
    try:
        with safe_open(local, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_tensor(name)
                if not tensor.is_floating_point() or torch.isfinite(tensor).all():
                    continue
                rows = (~torch.isfinite(tensor.reshape(len(tensor) if tensor.ndim else 1, -1))).any(dim=1)
                index = rows.nonzero()[:MAX_EXAMPLES, 0].tolist()
                yield name, int(rows.sum()), [{"file": record.path, "row": row} for row in index]
    except (SafetensorError, OSError) as error:
        yield "every column", 1, [{"file": record.path, "problem": str(error).splitlines()[0]}]
