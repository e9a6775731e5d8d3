"""One content-addressed unit of work: skipped when complete, checked and committed when done."""

import time
from datetime import UTC, datetime
from typing import Any

from prefect.runtime import flow_run

from tasks.progress import say
from warehouse import stages
from warehouse.store import FileRecord, Warehouse


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
        self, warehouse: Warehouse, name: str, slug: str, *,
        settings: dict[str, Any], inputs: list[str], collection: str | None = None, version: int = 1,
    ):  # fmt: skip
        self.warehouse, self.name, self.inputs = warehouse, name, inputs
        self.settings = {**settings, "stage": name, "version": version}
        self.key = stages.stage_key(slug, self.settings, inputs)
        self.collection = collection or self.key
        self.files: list[FileRecord] = []
        self.tokens_run = 0
        self._problem = stages.stage_problem(warehouse, name, self.key)

    @property
    def complete(self) -> bool:
        """True if an earlier run committed this key and its files are whole."""
        return self._problem is None

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

    def __enter__(self) -> "Stage":
        self._started, self._clock = datetime.now(UTC), time.monotonic()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.commit()

    def commit(self) -> None:
        """Check what was written, write the results of the checks and, last of all, the manifest."""
        from warehouse import quality

        checks = quality.check_stage(self.warehouse, self.name, self.key, self.collection, self.files)
        failed = quality.failures(checks)
        self.write("quality_results", checks, part=f"{self.name}-{self.key}")
        stages.commit(
            self.warehouse, self.name, self.key, collection=self.collection, inputs=self.inputs,
            settings=self.settings, files=self.files, tokens_run=self.tokens_run,
            quality=stages.FAILED if failed else stages.PASSED, flow_run_id=flow_run.id,
            started_at=self._started, seconds=time.monotonic() - self._clock,
        )  # fmt: skip
        if failed:
            raise quality.quality_error(failed)
