"""What a person sees while work runs: a bar on the terminal, a progress artifact and log lines in Prefect."""

import time
from contextlib import suppress
from types import TracebackType
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger, get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tasks.engine.looking import kept
from tasks.engine.server_calls import call_with_retry

ARTIFACT_SECONDS = 2.0
"""Least time between two updates of a progress artifact: each is a call to the server."""

terminal = Console(stderr=True, highlight=False)


def say(stage: str, message: str) -> None:
    """One line about a stage, on the terminal and in the run's log; kept for later in a look."""
    if kept(stage, message):
        return
    terminal.print(f"[bold]{stage:<9}[/] {message}", soft_wrap=True)
    logger = get_run_logger() if _in_run() else get_logger("ato")
    logger.info("%s %s", stage, message)


def _in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


class Progress:
    """Progress of one long task, in units of work; use as a context manager and call ``advance``.

    Args:
        stage: what is worked on.
        total: units in all.
        unit: what is counted.
        bar: whether to draw a bar on the terminal; only one can be there at a time.
    """

    def __init__(self, stage: str, total: float, unit: str, *, bar: bool = True):
        self._stage, self._total, self._unit, self._done = stage, max(total, 1), unit, 0.0
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._bar = Bar(
            TextColumn(f"[bold]{stage:<9}[/]"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
            disable=not (bar and terminal.is_terminal),
        )

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._bar_task = self._bar.add_task(self._stage, total=self._total)
        if _in_run():
            artifact = call_with_retry(create_progress_artifact, 0.0, description=f"{self._stage} ({self._unit})")
            self._artifact = UUID(str(artifact)) if artifact else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None:
            self._publish()

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more units as done."""
        self.reach(self._done + amount)

    def reach(self, done: float) -> None:
        """Say how many units are done in all."""
        self._done = done
        self._bar.update(self._bar_task, completed=int(self._done))
        if time.monotonic() - self._updated > ARTIFACT_SECONDS:
            self._publish()

    def _publish(self) -> None:
        self._updated = time.monotonic()
        if self._artifact is not None:
            with suppress(httpx.HTTPError):  # the next one comes in a moment
                update_progress_artifact(self._artifact, progress=min(100.0, 100 * self._done / self._total))
