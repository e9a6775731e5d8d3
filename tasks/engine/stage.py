"""One content-addressed unit of work: skipped when complete, checked and committed when done, and charged with its cost."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from tasks.engine.looking import work_ahead
from tasks.engine.progress import phase, say
from tasks.engine.server_calls import call_with_retry
from tasks.engine.work_clock import Cost, WorkClock, running_clock, shares
from warehouse.storage import manifests
from warehouse.storage.warehouse import FileRecord, Warehouse


class Stage:
    """A stage run under its key; ``with`` it, ``add`` the files it writes, and it commits at the end.

    Args:
        warehouse: where everything lands.
        name: name of the stage (``collect``, ``saes``, ...).
        slug: readable first part of the key.
        settings: everything of its own that changes what it writes.
        inputs: keys of what it reads.
        collection: the collection it belongs to; default: the stage makes one, named by its own key.
        version: raised whenever the algorithm changes, so that old results are not taken for new ones.

    Raises:
        QualityError: an expectation on the written rows failed; they stay out of every view.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        name: str,
        slug: str,
        *,
        settings: dict[str, Any],
        inputs: list[str],
        collection: str | None = None,
        version: int = 1,
    ):
        self.warehouse, self.name, self.inputs = warehouse, name, inputs
        self.settings = {**settings, "stage": name, "version": version}
        self.key = manifests.stage_key(slug, self.settings, inputs)
        self.collection = collection or self.key
        self.files: list[FileRecord] = []
        self.tokens_run = 0
        self._alone = 0.0

    @cached_property
    def complete(self) -> bool:
        """True if an earlier run committed this key and its files are whole; looked up once, when first asked."""
        complete = manifests.stage_problem(self.warehouse, self.name, self.key) is None
        if not complete:
            work_ahead()
        return complete

    def skip(self) -> bool:
        """Say that the stage is skipped if it is complete; returns whether it is."""
        if self.complete:
            say(self.name, f"{self.key} is complete, skipped")
        return self.complete

    def add(self, *files: FileRecord) -> None:
        """Count files as written by this stage."""
        self.files.extend(files)

    def write(self, table: str, rows: Any, *, part: str | None = None, **partition: Any) -> None:
        """Write rows of a table as one file named after this stage's key."""
        self.add(self.warehouse.write_rows(table, rows, part or self.key, collection=self.collection, **partition))

    def charge(self, seconds: float) -> None:
        """Count wall time that was spent for this stage alone outside ``with``, in a pass that it shares."""
        self._alone += seconds

    def __enter__(self) -> "Stage":
        self._clock, self._entered = running_clock() or WorkClock(), time.monotonic()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.charge(time.monotonic() - self._entered)
        if kind is not None:
            return
        waiting = _waiting.get()
        if waiting is None:
            _commit([self])
        else:
            waiting.append(self)

    def _write_manifest(self, quality: str, lap: Cost, seconds: float, batch: manifests.Batch) -> None:
        manifests.commit(
            self.warehouse,
            self.name,
            self.key,
            collection=self.collection,
            inputs=self.inputs,
            settings=self.settings,
            files=self.files,
            tokens_run=self.tokens_run,
            quality=quality,
            flow_run_id=flow_run.id,
            started_at=lap.started_at,
            seconds=seconds,
            batch=batch,
        )


_waiting: ContextVar[list[Stage] | None] = ContextVar("waiting", default=None)


@contextmanager
def checked_together() -> Iterator[None]:
    """Stages of one collection that end inside are checked at its end, each table once, and committed one by one.

    They are a batch: the time since the commit before is theirs, each one's own and an even share of the rest. A
    validation takes its time whatever the number of rows: for many small stages it would take most of theirs. If an
    expectation fails, none of these stages is committed as passed.
    """
    token = _waiting.set([])
    try:
        yield
        finished = _waiting.get()
    finally:
        _waiting.reset(token)
    if finished:
        _commit(finished)


def _commit(finished: Sequence[Stage]) -> None:
    """Check what was written, write the results of the checks and, last of all, the manifests with what it all cost."""
    from warehouse.quality import checks

    first = finished[0]
    with phase(first.name, "checking what was written"):
        files = [file for stage in finished for file in stage.files]
        keys = [(stage.name, stage.key) for stage in finished]
        results = checks.check_stages(first.warehouse, keys, first.collection, files)
        failed = checks.failures(results)
        first.write("quality_results", results, part=f"{first.name}-{first.key}")
        _write_manifests(finished, manifests.FAILED if failed else manifests.PASSED)
    if results and flow_run.id is not None:  # after the manifests: a server that is away costs no finished work
        _show(first, results, failed)
    if failed:
        raise checks.quality_error(failed)


def _write_manifests(finished: Sequence[Stage], quality: str) -> None:
    """Charge the stages with all that has passed since the commit before them, and write their manifests."""
    lap = finished[0]._clock.lap()
    for stage, seconds in zip(finished, shares(lap.seconds, [stage._alone for stage in finished]), strict=True):
        cpu_seconds = lap.cpu_seconds * (seconds / lap.seconds if lap.seconds else 1 / len(finished))
        batch = manifests.Batch(finished[0].key, len(finished), lap.seconds, cpu_seconds, lap.peak_memory)
        stage._write_manifest(quality, lap, seconds, batch)


def _show(first: Stage, checks: Sequence[dict[str, Any]], failed: Sequence[Any]) -> None:
    """The results of the checks as a table in Prefect, what failed above all else."""
    columns = ("success", "table_name", "column_name", "expectation", "n_checked", "n_unexpected", "examples")
    call_with_retry(
        create_table_artifact,
        table=[{name: row[name] for name in columns} for row in sorted(checks, key=lambda row: row["success"])],
        key=f"quality-{first.name.replace('_', '-')}",
        description=f"{first.key}: {len(failed)} of {len(checks)} checks failed",
    )
