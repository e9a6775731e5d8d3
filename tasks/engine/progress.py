"""What a person sees while work runs: a bar on a terminal, else a line at least every half minute, and both in Prefect.

Whatever is at work registers here: a ``Progress`` with its units, or a ``phase`` that only has a name. The innermost
one is shown. A thread speaks for it, so that a line comes even while nothing is counted.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import Event, Lock, Thread
from types import TracebackType
from typing import IO
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger, get_run_logger
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from tasks.engine.looking import kept
from tasks.engine.server_calls import call_with_retry

ARTIFACT_SECONDS = 2.0
"""Least time between two updates of a progress artifact: each is a call to the server."""
SILENCE_SECONDS = 20.0
"""After so long without a line, one says what is at work."""
SHORT_SECONDS = 5.0
"""A task that ends earlier is not mentioned."""
LOOK_SECONDS = 1.0
"""Between two looks at the silence."""
RATE_SECONDS = 60
"""Rates are those of the last minute: what an earlier run had done is replayed much faster."""

BESIDE = 16
"""Characters of a bar's line beside its status: the stage, four of the bar itself, two gaps."""

terminal = Console(stderr=True, highlight=False)


def say(stage: str, message: str) -> None:
    """One line about a stage, on the terminal and in the run's log; kept for later in a look."""
    if kept(stage, message):
        return
    _speaker.heard()
    terminal.print(f"[bold]{stage:<9}[/] {escape(message)}", soft_wrap=True)  # a path may look like markup
    _log(stage, message)


def _log(stage: str, message: str) -> None:
    logger = get_run_logger() if _in_run() else get_logger("ato")
    logger.info("%s %s", stage, message)


def _in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def _animated() -> bool:
    """Whether bars can be drawn: on a terminal that can move its cursor."""
    return terminal.is_interactive


def _shares_a_terminal() -> bool:
    """Whether another process draws bars where this one would print: a worker that a run on a terminal started."""
    return os.environ.get("TTY_COMPATIBLE") == "0" and sys.stderr.isatty()


class _Activity:
    """Something at work, whose status can be asked for at any time."""

    def __init__(self, stage: str):
        self.stage, self.began = stage, time.monotonic()
        self.context = copy_context()  # the run whose log it speaks into

    @property
    def share(self) -> float | None:
        """Part done; None if unknown."""
        return None

    def status(self) -> str:
        """Where it stands, in words."""
        raise NotImplementedError

    def panel(self) -> RenderableType | None:
        """What stands above its bar on a terminal; None for nothing."""
        return None

    def speak(self, stream: IO[str]) -> None:
        """Say the status where no bar shows it."""
        status = self.status()
        if not (terminal.quiet or _shares_a_terminal()):
            print(f"{self.stage:<9} {status}", file=stream, flush=True)
        _log(self.stage, status)


class _Phase(_Activity):
    def __init__(self, stage: str, what: str):
        super().__init__(stage)
        self._what = what

    def status(self) -> str:
        return f"{self._what}, {_clock(time.monotonic() - self.began)} so far"


@contextmanager
def phase(stage: str, what: str) -> Iterator[None]:
    """Inside, something is at work that cannot be counted: ``what`` says it in words, such as "loading the model"."""
    activity = _Phase(stage, what)
    _speaker.enter(activity)
    try:
        yield
    finally:
        _speaker.leave(activity)


class Progress(_Activity):
    """Progress of one long task, in units of work; use as a context manager and call ``advance``.

    Args:
        stage: what is worked on.
        total: units in all.
        unit: what is counted, in the plural, or ``%``.
        detail: of what, such as a layer.
    """

    def __init__(self, stage: str, total: float, unit: str, detail: str = ""):
        super().__init__(stage)
        self._total, self._unit, self._detail, self._done = max(total, 1), unit, detail, 0.0
        self._seen: deque[tuple[float, float]] = deque([(self.began, 0.0)], maxlen=RATE_SECONDS)
        self._artifact: UUID | None = None
        self._updated = 0.0

    def __enter__(self) -> "Progress":
        _speaker.enter(self)
        if _in_run():
            description = " ".join(filter(None, [self.stage, f"({self._unit})", self._detail]))
            artifact = call_with_retry(create_progress_artifact, 0.0, description=description)
            self._artifact = UUID(str(artifact)) if artifact else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _speaker.leave(self)
        if kind is None:
            self._publish()

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more units as done."""
        self.reach(self._done + amount)

    def reach(self, done: float) -> None:
        """Say how many units are done in all."""
        self._done, now = done, time.monotonic()
        if now - self._seen[-1][0] >= 1:
            self._seen.append((now, done))
        if now - self._updated > ARTIFACT_SECONDS:
            self._publish()

    @property
    def share(self) -> float:
        """Part done, at most 1."""
        return min(1.0, self._done / self._total)

    def status(self) -> str:
        """Share done, rate and time left."""
        detail = f" ({self._detail})" if self._detail else ""
        of = f" of {self._detail}" if self._unit == "%" else f" of {self._total:,.0f} {self._unit}{detail}"
        text, elapsed = f"{100 * self.share:.0f} %{of}", time.monotonic() - self.began
        since, before = self._seen[0]
        rate = (self._done - before) / max(time.monotonic() - since, 1e-9)
        if not self._done or rate <= 0 or elapsed < 1:
            return f"{text}, {_clock(elapsed)} so far"
        number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        speed = "" if self._unit == "%" else f", {number} {self._unit}/s"
        return f"{text}{speed}, {_clock((self._total - self._done) / rate)} left" if self.share < 1 else text + speed

    def _publish(self) -> None:
        self._updated = time.monotonic()
        if self._artifact is not None:
            with suppress(httpx.HTTPError):  # the next one comes in a moment
                update_progress_artifact(self._artifact, progress=100 * self.share)


class _Speaker:
    """Shows the innermost activity: as a bar, or in a line after every silence."""

    def __init__(self) -> None:
        self._lock, self._at_work, self._last = Lock(), list[_Activity](), time.monotonic()
        self._ended: Event | None = None
        self._bars: Bars | None = None
        self._rows: dict[_Activity, TaskID] = {}

    def heard(self) -> None:
        """A line was printed just now."""
        self._last = time.monotonic()

    def enter(self, activity: _Activity) -> None:
        """Show an activity until it is left, or another begins inside."""
        with self._lock:
            if not self._at_work:
                self._begin()
            self._at_work.append(activity)
            self._draw()

    def leave(self, activity: _Activity) -> None:
        """It has ended."""
        with self._lock:
            self._at_work.remove(activity)
            if self._bars is not None and (row := self._rows.pop(activity, None)) is not None:
                self._bars.remove_task(row)
            self._draw()
            if not self._at_work:
                self._end()

    def _begin(self) -> None:
        if _animated():
            status = _Status(table_column=Column(no_wrap=True, overflow="ellipsis"))
            bar = BarColumn(bar_width=None, table_column=Column(ratio=1))
            name = TextColumn("[bold]{task.description:<9}[/]", table_column=Column(no_wrap=True))
            self._bars = _Bars(name, bar, status, console=terminal, transient=True, expand=True, refresh_per_second=4)
            self._bars.start()
        else:
            self._ended = Event()
            # The stream of now: whoever loads a model may send standard error elsewhere meanwhile.
            Thread(target=self._watch, args=(self._ended, terminal.file), name="progress", daemon=True).start()

    def _end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        if self._ended is not None:
            self._ended.set()
        self._bars = self._ended = None

    def _draw(self) -> None:
        """One bar, that of the innermost activity."""
        if self._bars is None or not self._at_work:
            return
        innermost = self._at_work[-1]
        if innermost not in self._rows:
            self._rows[innermost] = self._bars.add_task(innermost.stage, total=None, activity=innermost)
        for activity, row in self._rows.items():
            self._bars.update(row, visible=activity is innermost)

    def _watch(self, ended: Event, stream: IO[str]) -> None:
        while not ended.wait(LOOK_SECONDS):
            now = time.monotonic()
            if now - self._last < SILENCE_SECONDS:
                continue
            with self._lock:
                long = [activity for activity in self._at_work if now - activity.began >= SHORT_SECONDS]
            if long:
                self.heard()
                long[-1].context.run(long[-1].speak, stream)


class _Bars(Bars):
    """The bar of the innermost activity, below what the activity shows of itself."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Panel and bar."""
        for task in self.tasks:
            panel = task.fields["activity"].panel() if task.visible else None
            if panel is not None:
                yield panel
        yield from super().get_renderables()


class _Status(ProgressColumn):
    """The status of the activity in words; sets its bar on the way."""

    max_refresh = None

    def render(self, task: Task) -> RenderableType:
        """The words."""
        activity: _Activity = task.fields["activity"]
        if (share := activity.share) is not None:
            task.total, task.completed = 1.0, share
        text = Text(activity.status())
        text.truncate(terminal.width - BESIDE, overflow="ellipsis")
        return text


def _clock(seconds: float) -> str:
    """A time as 1:05 or 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


_speaker = _Speaker()
