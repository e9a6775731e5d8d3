"""Stage runs: content-addressed keys, and the manifest, whose write completes a stage."""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from ato.errors import DamagedFileError, InputError, SchemaVersionError
from warehouse.storage.warehouse import FileRecord, Warehouse

_EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
PASSED, FAILED = "passed", "failed"
REBUILD = "run the `ato run` that made it again, with the same settings: it rebuilds this stage"
"""Cure of damaged files; a run removes what is altered when it meets it, see ``warehouse.maintenance.repair``."""


@dataclass(frozen=True)
class Batch:
    """Stage runs that were made together, such as all pairs in one pass, and what one of them had of the cost."""

    batch: str
    """Key of the first of them; a stage run that was made alone is a batch of its own."""
    batch_stages: int
    batch_seconds: float
    cpu_seconds: float
    """The share of the one."""
    peak_memory: int
    """Bytes, of the process that made all of them."""


ADDED_LATER = tuple(field.name for field in fields(Batch))
"""Columns of ``stage_runs`` that manifests of version 0.1 lack."""


@dataclass(frozen=True)
class StageRun:
    """The manifest of one stage run: inputs, outputs, cost."""

    stage: str
    key: str
    collection: str
    inputs: tuple[str, ...]
    settings: str
    """Canonical JSON."""
    files: tuple[FileRecord, ...]
    rows: int
    bytes: int
    tokens_run: int
    quality: str
    flow_run_id: str | None
    started_at: datetime
    """Of its batch."""
    seconds: float
    """Its share of the batch's."""
    batch: str | None = None
    """See ``Batch``; None, as the four below, if nobody noted it: versions until 0.1 did not."""
    batch_stages: int | None = None
    batch_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None

    @property
    def finished_at(self) -> datetime:
        """When its batch was complete."""
        return self.started_at + timedelta(seconds=self.seconds if self.batch_seconds is None else self.batch_seconds)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal settings give equal text.

    Raises:
        InputError: the value holds something that JSON cannot (a path, NaN, an object).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"settings cannot be written as JSON: {error}") from error


def stage_key(slug: str, settings: Mapping[str, Any], inputs: Sequence[str] = ()) -> str:
    """Key of a stage: readable slug and the first 8 hex digits of SHA-256 over settings and input keys.

    The order of ``inputs`` matters; the order of settings does not.
    """
    readable = re.sub(r"[^a-z0-9._]+", "-", slug.lower()).strip("-._") or "stage"
    text = canonical_json({"settings": settings, "inputs": list(inputs)})
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def manifest_path(stage: str, key: str) -> str:
    """Path of a stage's manifest, relative to the warehouse."""
    return f"stage_runs/stage={stage}/part-{key}.parquet"


def commit(
    warehouse: Warehouse,
    stage: str,
    key: str,
    *,
    collection: str,
    settings: Mapping[str, Any],
    files: Sequence[FileRecord],
    started_at: datetime,
    seconds: float,
    inputs: Sequence[str] = (),
    quality: str = PASSED,
    tokens_run: int = 0,
    flow_run_id: object = None,
    batch: Batch | None = None,
) -> StageRun:
    """Write the manifest, the last write of a stage: makes its files visible if quality is ``passed``.

    Args:
        files: everything the stage wrote, tables and artifacts and quality results.
        settings: the stage's own settings, as hashed by ``stage_key``.
        started_at: with a time zone.
        seconds: wall time of the stage, or its share.
        batch: what it was made with; None if unknown.
    """
    if quality not in (PASSED, FAILED):
        raise InputError(f"invalid quality {quality!r}", cure=f"use {PASSED!r} or {FAILED!r}")
    ordered = tuple(sorted(files, key=lambda f: f.path))
    rows, size = sum(f.rows for f in ordered), sum(f.bytes for f in ordered)
    run = StageRun(
        stage,
        key,
        collection,
        tuple(inputs),
        canonical_json(settings),
        ordered,
        rows,
        size,
        tokens_run,
        quality,
        None if flow_run_id is None else str(flow_run_id),
        started_at,
        seconds,
        **({} if batch is None else asdict(batch)),
    )
    warehouse.write_rows("stage_runs", [asdict(run)], key, stage=stage)
    return run


def manifest(warehouse: Warehouse, stage: str, key: str) -> StageRun | None:
    """The manifest of a stage run; None if it never completed.

    Raises:
        DamagedFileError: the manifest cannot be read.
    """
    return _read(warehouse, manifest_path(stage, key))


def manifests(warehouse: Warehouse) -> list[StageRun]:
    """The manifests of all stage runs, passed and failed, by start.

    Raises:
        DamagedFileError: a manifest cannot be read.
    """
    runs, unreadable = manifests_and_damage(warehouse)
    if unreadable:
        raise DamagedFileError("manifest cannot be read", where=warehouse.storage.url(unreadable[0]), cure=REBUILD)
    return runs


def manifests_and_damage(warehouse: Warehouse) -> tuple[list[StageRun], list[str]]:
    """The manifests that can be read, by start, and the paths of those that cannot."""
    runs, unreadable = [], []
    for path in warehouse.storage.names("stage_runs"):
        if not path.endswith(".parquet"):
            continue
        try:
            run = _read(warehouse, path)
        except DamagedFileError:
            unreadable.append(path)
            continue
        if run is not None:
            runs.append(run)
    return sorted(runs, key=lambda r: (r.started_at, r.stage, r.key)), unreadable


def _read(warehouse: Warehouse, path: str) -> StageRun | None:
    data = warehouse.storage.read(path)
    if data is None:
        return None
    try:
        return _parse(path, data)
    except (pa.ArrowInvalid, IndexError, OSError) as error:
        raise DamagedFileError("manifest cannot be read", where=warehouse.storage.url(path), cure=REBUILD) from error
    except (KeyError, TypeError) as error:  # whole, but of another version: nobody may remove it as damaged
        cure = "read the warehouse with the version that wrote it"
        raise SchemaVersionError("manifest has other columns", where=warehouse.storage.url(path), cure=cure) from error


@lru_cache(maxsize=65_536)
def _parse(path: str, data: bytes) -> StageRun:
    """Parse a manifest; cached, since every connection reads all manifests.

    With more manifests than the cache holds, each connection would parse all of them.
    """
    # ParquetFile, not read_table: the latter would add the hive partition of the path as a dictionary column.
    table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    row = table.drop_columns("started_at").to_pylist()[0]
    # By hand: Arrow imports pandas to make one time, which takes as long as opening the warehouse.
    microseconds = table["started_at"].cast(pa.int64())[0].as_py()
    row["started_at"] = _EPOCH + timedelta(microseconds=microseconds)
    row["files"] = tuple(FileRecord(**file) for file in row["files"])
    row["inputs"] = tuple(row["inputs"])
    return StageRun(stage=path.split("/")[1].removeprefix("stage="), **row)


def stage_problem(warehouse: Warehouse, stage: str, key: str) -> str | None:
    """Why a stage must run (again): not complete, failed checks, damaged files; None if it is complete."""
    try:
        run = manifest(warehouse, stage, key)
    except DamagedFileError as error:
        return error.what
    if run is None:
        return "never completed"
    if run.quality != PASSED:
        return f"quality {run.quality}"
    for path, problem in warehouse.damage(run.files).items():
        return f"{path}: {problem}"
    return None
