"""Parts of a stage's work that run at the same time, as tasks of the flow's task runner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture, as_completed

from ato.errors import UnavailableError
from tasks.engine.looking import stage_task
from tasks.engine.progress import Progress, phase
from tasks.engine.work_clock import Cost, measured, running_clock

Name = TypeVar("Name")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Part:
    """What a part returns, and what it cost beside the stages that it committed by itself."""

    result: Any
    cost: Cost


def part_task(name: str) -> Callable[[Callable[Arguments, Any]], Task[Arguments, Part]]:
    """Make a function the task of that name for ``run_parts``: a clock of its own runs while it works."""

    def decorate(work: Callable[Arguments, Any]) -> Task[Arguments, Part]:
        @wraps(work)
        def part(*args: Arguments.args, **options: Arguments.kwargs) -> Part:
            with measured(apart=True) as clock, phase(name.split(",")[0], "a part"):
                result = work(*args, **options)
                return Part(result, clock.lap())

        return stage_task(name)(part)

    return decorate


def split_evenly(n: int, parts: int) -> list[range]:
    """``range(n)`` cut into at most so many consecutive ranges, none of them empty, whose lengths differ by one at most."""
    parts = min(n, parts)
    bounds = [n * part // parts for part in range(parts + 1)] if parts else []
    return [range(start, stop) for start, stop in pairwise(bounds)]


def split_by_size(sizes: Mapping[Name, float], parts: int) -> list[list[Name]]:
    """Names in at most so many shares, none of them empty: the largest first, each to the share that has least."""
    shares: list[list[Name]] = [[] for _ in range(min(len(sizes), parts))]
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        min(shares, key=lambda share: sum(sizes[own] for own in share)).append(name)
    return shares


def results(futures: Sequence[PrefectFuture[Any]], on_done: Callable[[], None] = lambda: None) -> list[Any]:
    """Results of submitted tasks, in their order, once all have ended: nothing goes on under a lock that is given back.

    Args:
        on_done: called as each of them ends.

    Raises:
        Exception: that of the first task that failed.
    """
    for _ in as_completed(list(futures)):
        on_done()
    return [future.result() for future in futures]


def run_parts(stage: str, part: Task[..., Part], shares: Sequence[Any], *arguments: Any) -> list[Any]:
    """Results of a task that is submitted for each share (its first argument, keys or layers), once all have ended.

    Their CPU time, without that of stages which they committed themselves, is charged to what commits here next.

    Raises:
        UnavailableError: all processes that worked on a share died, one after the other, or the cluster did.
        Exception: that of the first task that failed.
    """
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    with Progress(stage, len(shares), "parts") as progress:
        futures: list[Any] = [part.submit(share, *arguments) for share in shares]
        try:
            done: list[Part] = results(futures, progress.advance)
        except (KilledWorker, FutureCancelledError):
            lost = [share for share, future in zip(shares, futures) if future.wrapped_future.status != "finished"]
            raise UnavailableError(
                f"Dask workers died in a part of {stage}",
                where=shorten("; ".join(map(str, lost)), 200),
                cure="run the same command again, it resumes; if memory ran out, use fewer workers",
            ) from None
    if (clock := running_clock()) is not None:
        for one in done:
            clock.add_part(one.cost)
    return [one.result for one in done]
