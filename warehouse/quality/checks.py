"""Quality checks of a stage's output and of the whole warehouse."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ato.errors import QualityError
from warehouse.quality.integrity import check_files, check_mart_files
from warehouse.quality.rules import check_rules, partition_values
from warehouse.quality.suites import MAX_EXAMPLES, Finding, check_rows
from warehouse.storage.change_log import changes
from warehouse.storage.manifests import PASSED, StageRun, manifests_and_damage
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES, Table
from warehouse.tables.lists import LIST_CHANGES

Row = dict[str, Any]
"""One row of the table ``quality_results``."""

SAMPLE_ROWS = 200_000
"""Activations in one check."""
CHUNK_ROWS = 50_000
"""Rows per validation, for other tables."""
SAMPLE_RESIDUAL_BYTES = 32 << 20
"""Bytes of residuals in the check of a stage; ``check_all`` reads all."""
_WHOLE = "warehouse"


def check_stages(
    warehouse: Warehouse, keys: Sequence[tuple[str, str]], collection: str, files: Sequence[FileRecord]
) -> list[Row]:
    """Check the output of stages: one row of ``quality_results`` per check, passed or failed.

    Every row of every table is checked; of activations, the first rows of each file (200,000 in all). Keys may refer to
    rows in ``files`` or in complete stages. A failed check raises nothing: see ``failures`` and ``quality_error``.

    Args:
        keys: (stage, key) of each; results are recorded under the first.
        collection: of all of them.
        files: their output.
    """
    runs, _ = manifests_and_damage(warehouse)
    earlier = _sound(warehouse, [run for run in runs if (run.stage, run.key) not in set(keys)], collection)
    return [_row(finding, *keys[0], collection) for finding in _check_tables(warehouse, files, earlier)]


def check_all(warehouse: Warehouse, on_file: Callable[[FileRecord], None] | None = None) -> list[Row]:
    """Check the whole warehouse: every file of every complete stage against its manifest, then all suites and rules.

    So are changes of lists, against the names of their files.

    Each file must be there with its size, SHA-256 and declared schema; every float in it, residuals and matrices
    included, must be finite. Files of materialised marts must have their SHA-256. Memory does not depend on the sizes of
    files.

    Args:
        on_file: called before each file is read, for a progress bar.
    """
    runs, unreadable = manifests_and_damage(warehouse)
    rows = [_row(_about_manifests(runs, unreadable), "check", _WHOLE, _WHOLE)]
    sound: dict[str, FileRecord] = {}
    for run in runs:
        if run.quality != PASSED:
            continue
        for name in sorted({f.table_name for f in run.files}):
            findings, fit = check_files(warehouse, name, [f for f in run.files if f.table_name == name], on_file)
            rows += [_row(finding, run.stage, run.key, run.collection) for finding in findings]
            sound |= {f.path: f for f in fit}
    if files := [change.file for change in changes(warehouse)]:
        findings, fit = check_files(warehouse, LIST_CHANGES, files, on_file)
        rows += [_row(finding, "check", _WHOLE, _WHOLE) for finding in findings]
        sound |= {f.path: f for f in fit}
    rows += [_row(finding, "check", _WHOLE, _WHOLE) for finding in check_mart_files(warehouse)]
    return rows + [_row(f, "check", _WHOLE, _WHOLE) for f in _check_tables(warehouse, list(sound.values()), [])]


def failures(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of failed checks."""
    return [row for row in rows if not row["success"]]


def describe(row: Mapping[str, Any]) -> str:
    """One readable line: table, column, check, number of failing rows, and their keys."""
    where = row["table_name"] + (f".{row['column_name']}" if row["column_name"] else "")
    if row["success"]:
        return f"ok      {where}: {row['expectation']} ({row['n_checked']:,} checked)"
    keys = "; ".join(
        ", ".join(f"{name}={value}" for name, value in example.items())
        for example in json.loads(row["examples"] or "[]")
    )
    found = f"{row['n_unexpected']:,} of {row['n_checked']:,} rows fail"
    return f"FAILED  {where}: {row['expectation']} - {found} - {row['stage']} {row['key']} - {keys}"


def quality_error(rows: Iterable[Mapping[str, Any]]) -> QualityError:
    """The error of a stage for failed checks: names table, check and keys of failing rows."""
    failed = failures(rows)
    first = "; ".join(describe(row).removeprefix("FAILED").strip() for row in failed[:3])
    more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
    return QualityError(
        f"{len(failed)} quality check{'s' if len(failed) != 1 else ''} failed: {first}{more}",
        cure="the output is hidden from every view; see quality_results, fix the cause and run the stage again",
    )


def _row(finding: Finding, stage: str, key: str, collection: str) -> Row:
    return {
        "collection": collection,
        "stage": stage,
        "key": key,
        "table_name": finding.table,
        "expectation": finding.expectation,
        "column_name": finding.column,
        "success": finding.success,
        "n_checked": finding.n_checked,
        "n_unexpected": finding.n_unexpected,
        "examples": json.dumps(finding.examples) if finding.examples else None,
    }


def _sound(warehouse: Warehouse, runs: Sequence[StageRun], collection: str) -> list[FileRecord]:
    """Undamaged files of a collection's complete stages."""
    files = [f for run in runs if run.quality == PASSED and run.collection == collection for f in run.files]
    broken = warehouse.damage(files)
    return [f for f in files if f.path not in broken]


def _about_manifests(runs: Sequence[StageRun], unreadable: Sequence[str]) -> Finding:
    failed = [
        {"stage": run.stage, "key": run.key, "problem": "quality check failed"} for run in runs if run.quality != PASSED
    ]
    broken = [{"file": path, "problem": "manifest cannot be read"} for path in unreadable]
    examples = [*broken, *failed]
    text = "every manifest is readable and its stage passed its checks"
    return Finding("stage_runs", text, None, len(runs) + len(broken), len(examples), tuple(examples[:MAX_EXAMPLES]))


def _check_tables(warehouse: Warehouse, files: Sequence[FileRecord], earlier: Sequence[FileRecord]) -> list[Finding]:
    """Suites and rules of all tables that the files belong to."""
    findings: list[Finding] = []
    activations = None
    for table in TABLES.values():
        of_table = [f for f in files if f.table_name == table.name]
        if not of_table:
            continue
        if table.name == "activations":
            activations = _sample_activations(warehouse, of_table)
            chunks: Iterable[pa.Table] = [activations]
        else:
            chunks = _chunks(warehouse, table, of_table)
        findings += _merge(check_rows(table, chunk) for chunk in chunks)
    return findings + check_rules(warehouse, files, earlier, activations)


def _merge(parts: Iterable[Sequence[Finding]]) -> list[Finding]:
    merged: list[Finding] = []
    for findings in parts:
        merged = [a + b for a, b in zip(merged, findings)] if merged else list(findings)
    return merged


def _chunks(warehouse: Warehouse, table: Table, files: Sequence[FileRecord]) -> Iterator[pa.Table]:
    """The rows of files in chunks: several small files or a part of a large one."""
    waiting: list[pa.Table] = []
    for file in files:
        with pq.ParquetFile(warehouse.storage.open(file.path)) as parquet:
            for batch in parquet.iter_batches(CHUNK_ROWS):
                waiting.append(_with_partition(table, file.path, pa.Table.from_batches([batch])))
                if sum(t.num_rows for t in waiting) >= CHUNK_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _with_partition(table: Table, path: str, rows: pa.Table) -> pa.Table:
    for name, value in partition_values(table, path).items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, table.column(name).type), rows.num_rows))
    return rows


def _sample_activations(warehouse: Warehouse, files: Sequence[FileRecord]) -> pa.Table:
    """The first rows of each file, with norms in place of the residuals."""
    table = TABLES["activations"]
    stored = [c.name for c in table.columns if c.name != "residual" and c.name not in table.partition]
    parts = []
    for file in files:
        with pq.ParquetFile(warehouse.storage.open(file.path)) as parquet:
            rows = _first(parquet, stored, max(1, SAMPLE_ROWS // len(files)))
            width = parquet.schema_arrow.field("residual").type.list_size
            n = max(1, SAMPLE_RESIDUAL_BYTES // len(files) // (4 * width))
            residuals = _first(parquet, ["residual"], min(n, rows.num_rows)).column(0).combine_chunks()
        x = residuals.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        norms = np.full(rows.num_rows, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            norms[: len(x)] = np.linalg.norm(x, axis=1)
        looked_at = np.arange(rows.num_rows) < len(x)
        rows = rows.append_column("residual_norm", pa.array(norms, mask=~looked_at))
        parts.append(_with_partition(table, file.path, rows))
    return pa.concat_tables(parts)


def _first(parquet: pq.ParquetFile, columns: list[str], n: int) -> pa.Table:
    batches = parquet.iter_batches(n, columns=columns)
    batch = next(batches, None)
    schema = pa.schema([parquet.schema_arrow.field(name) for name in columns])
    return schema.empty_table() if batch is None else pa.Table.from_batches([batch])
