"""What the work of stages costs: wall time, CPU time and memory, from its start to the manifests.

A clock runs while a task works (``exclusive``, ``stage_run`` and ``part_task`` start it, so no stage has to), and the
stages that commit next are charged with all that passed since the commit before.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost, all of its stages together."""

    started_at: datetime
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """CPU time of all threads of the process meanwhile, of its finished children, and of the workers of its parts."""
    peak_memory: int
    """Bytes: the most that this process ever held in memory until now, or a worker of its parts."""


class WorkClock:
    """Measures work lap by lap."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a new lap, and forget the one that was running."""
        self._started_at, self._wall, self._cpu = datetime.now(UTC), time.monotonic(), _cpu_seconds()
        self._parts_cpu, self._parts_memory = 0.0, 0

    def lap(self) -> Cost:
        """The lap until now; the next one begins."""
        cost = Cost(
            self._started_at,
            seconds=time.monotonic() - self._wall,
            cpu_seconds=_cpu_seconds() - self._cpu + self._parts_cpu,
            peak_memory=max(_peak_memory(), self._parts_memory),
        )
        self.restart()
        return cost

    def add_part(self, part: Cost) -> None:
        """Count what a worker did for this lap; its wall time passes here too."""
        self._parts_cpu += part.cpu_seconds
        self._parts_memory = max(self._parts_memory, part.peak_memory)


_running: ContextVar[WorkClock | None] = ContextVar("running", default=None)


@contextmanager
def measured(*, apart: bool = False) -> Iterator[WorkClock]:
    """Inside, a clock runs: the one that runs already, unless ``apart`` asks for one of its own, as a part's thread does."""
    running = _running.get()
    if running is not None and not apart:
        yield running
        return
    clock = WorkClock()
    token = _running.set(clock)
    try:
        yield clock
    finally:
        _running.reset(token)


def running_clock() -> WorkClock | None:
    """The clock that runs; None outside ``measured``."""
    return _running.get()


def shares(total: float, own: list[float]) -> list[float]:
    """A batch's wall time among its stages: what each took alone, and an even share of what they did together.

    Args:
        total: wall time of the batch.
        own: time that each spent alone; scaled down if it is more than all of it.
    """
    own_total = sum(own)
    if own_total > total:
        return [total * one / own_total for one in own]
    return [one + (total - own_total) / len(own) for one in own]


def _cpu_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _peak_memory() -> int:
    """High-water mark of the process's resident memory, in bytes."""
    if STATUS.exists():  # getrusage would count the process that this one was started from
        line = next((line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")), "")
        if line:
            return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
