"""Wall times of work, and the peak memory of work in a process of its own."""

import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")


def seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    """Wall time of one call, and what it returned; waits for the accelerator."""
    started = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def median_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Median wall time of some calls."""
    return statistics.median(seconds(work)[0] for _ in range(rounds))


def side_by_side(
    *works: Callable[[], object], rounds: int = 3, after_round: Callable[[], object] = lambda: None
) -> list[float]:
    """Median wall time of each of several pieces of work that take turns, so that a slow moment hits all of them.

    The medians are those of the round whose first ratio is the median one: a quotient of two of them is a ratio that
    was seen, not one of two different moments. What ``after_round`` does, such as removing files, is not timed.
    """
    times = []
    for _ in range(rounds):
        times.append([seconds(work)[0] for work in works])
        after_round()
    return sorted(times, key=lambda taken: taken[0] / taken[-1])[rounds // 2]


def peak_memory(function: str, *calls: Sequence[float | str]) -> list[float]:
    """Peak resident memory in MiB of a fresh process after each of its calls of ``module:function``.

    Args:
        function: is given strings.
        calls: arguments of each, the call that needs least memory first.
    """
    command = [sys.executable, "-m", __spec__.name, function, *(json.dumps([*map(str, call)]) for call in calls)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _call_and_print_peaks(function: str, *calls: str) -> None:
    module, name = function.split(":")
    peaks = []
    for call in calls:
        getattr(importlib.import_module(module), name)(*json.loads(call))
        # Not getrusage: its peak includes that of the process this one was started from.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peaks.append(int(status["VmHWM"].split()[0]) / 1024)
    print(json.dumps(peaks))


if __name__ == "__main__":
    _call_and_print_peaks(*sys.argv[1:])
