"""Small matrix products on all cores beside another program: threads that sleep while they wait, against threads that spin.

The platform sets GOMP_SPINCOUNT; OpenMP's own default has each thread spin until the last one is there, which is not running
while another program has its core.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measurement import Measurement, speedup
from benchmarks.own_process import call
from benchmarks.program import run
from flows.engine.environment import QUIET

SPINS = "GOMP_SPINCOUNT"
DEFAULT_SPINS = "300000"
"""Of OpenMP, where there are no more threads than cores."""


def busy_processor_benchmark(quick: bool) -> Iterator[Measurement]:
    """Seconds of products of the size of a layer of one sequence, alone and beside a program that never waits."""
    n_products = 3 if quick else 3000  # beside other programs, threads that spin take a tenth of a second for each
    threads = str(os.cpu_count())
    with tempfile.TemporaryDirectory() as folder:
        ours, reference = (
            call(
                Path(folder),
                "benchmarks.busy_processor:products",
                n_products,
                OMP_NUM_THREADS=threads,
                **{SPINS: spins},
            )
            for spins in (QUIET[SPINS], DEFAULT_SPINS)
        )
    figure = f"{n_products:,} products of 64 x 576 x 1,536 on {threads} cores"
    yield speedup(f"{figure}, alone", ours[0], "threads that spin", reference[0])
    beside = f"{figure}, beside one busy program"
    yield speedup(beside, ours[1], "threads that spin", reference[1], at_least=2.0)


def products(n_products: int) -> tuple[float, float]:
    """Seconds of so many products, each followed by a softmax: alone, and beside a busy program."""
    import torch

    from benchmarks.timing import median_seconds

    x, weight = torch.randn(64, 576), torch.randn(576, 1536)

    def work() -> None:
        for _ in range(n_products):
            torch.softmax(x @ weight, dim=-1)

    work()
    alone = median_seconds(work)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            return alone, median_seconds(work)
        finally:
            other.kill()


if __name__ == "__main__":
    sys.exit(run("busy_processor", busy_processor_benchmark, __doc__))
