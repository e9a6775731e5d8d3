"""Independent matrix tasks on all cores, each with one BLAS thread.

A BLAS call over several threads waits for the slowest of them at every block. When the cores are shared with other work
that costs a factor of ten (measured on two cores: 1.6 s against 0.23 s), while one thread a task loses nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


class _Limit:
    """How many callers want one BLAS thread now; the first sets the limit, the last lifts it."""

    lock = Lock()
    callers = 0
    active: Any = None


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's products run on the calling thread alone; safe to nest and to enter from several threads."""
    with _Limit.lock:
        _Limit.callers += 1
        if _Limit.callers == 1:
            _Limit.active = _controller().limit(limits=1, user_api="blas")
            _Limit.active.__enter__()
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.callers -= 1
            if _Limit.callers == 0:
                _Limit.active.__exit__(None, None, None)


@contextmanager
def one_openmp_thread() -> Iterator[None]:
    """torch works on the calling thread alone: where tasks fill all cores, its own threads would wait for one another."""
    torch.get_num_threads()  # a new thread sets its number when it first asks for it
    with _openmp().limit(limits=1):
        yield


@cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


def run_tasks(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Results of the tasks, in their order. As many run at a time as torch may use threads (``OMP_NUM_THREADS``).

    With more cores than tasks, and more than two, they run one by one, each with all of BLAS's threads.
    """
    cores = torch.get_num_threads()
    if cores > max(len(tasks), 2):
        return [task() for task in tasks]
    with one_blas_thread():
        if min(cores, len(tasks)) < 2:
            return [task() for task in tasks]
        with ThreadPoolExecutor(cores) as pool:
            return list(pool.map(lambda task: task(), tasks))


def run_task(task: Callable[[], Result]) -> Result:
    """Result of one task, which BLAS is given as many threads for as ``run_tasks`` gives it."""
    return run_tasks([task])[0]
