"""Looking whether a study is complete, without Prefect: for what is done no server starts and no model is loaded.

Inside ``looking`` flows and tasks are plain functions. They look up their stages as always; the first that is not
complete ends the look with ``NotComplete``, before any work was done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
Result = TypeVar("Result")
Line = tuple[str, str]
"""Stage and message, as ``say`` takes them."""

_lines: ContextVar[list[Line] | None] = ContextVar("lines", default=None)


class NotComplete(BaseException):
    """Something is left to do. Not an ``Exception``: no handler of errors takes it for one."""


@contextmanager
def looking(lines: list[Line]) -> Iterator[None]:
    """Look only, inside; what would have been said is added to ``lines``, for whoever finds all complete."""
    token = _lines.set(lines)
    try:
        yield
    finally:
        _lines.reset(token)


def is_looking() -> bool:
    """Whether this is only a look."""
    return _lines.get() is not None


def kept(stage: str, message: str) -> bool:
    """Keep a line while looking; False, and nothing, otherwise."""
    lines = _lines.get()
    if lines is not None:
        lines.append((stage, message))
    return lines is not None


def work_ahead() -> None:
    """Called where work begins: ends a look.

    Raises:
        NotComplete: this is only a look.
    """
    if is_looking():
        raise NotComplete


class StageTask(Task[P, Result]):
    """A Prefect task that is a plain function while looking."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.fn(*args, **options) if is_looking() else super().__call__(*args, **options)


def stage_task(name: str) -> Callable[[Callable[P, Result]], StageTask[P, Result]]:
    """Make a function a task of that name; its results are in the warehouse, so that Prefect caches none."""

    def decorate(work: Callable[P, Result]) -> StageTask[P, Result]:
        return StageTask(work, name=name, cache_policy=NO_CACHE)

    return decorate
