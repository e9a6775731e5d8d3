"""Figures of runs of benchmarks, which belong to no study."""

from datetime import timedelta

import numpy as np

from benchmarks.generated.rows import STARTED, rows_of
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

BENCHMARKS = ("moments", "fitting", "sql")


def write_benchmarks(warehouse: Warehouse, rng: np.random.Generator, run: int) -> None:
    """Figures of one run of each benchmark."""
    measured, n = STARTED + timedelta(days=run), 20
    for benchmark in BENCHMARKS:
        key = f"benchmark-{benchmark}-{run}"
        ours, what = rng.random(n) + 1, [f"figure {i}" for i in range(n)]
        columns = rows_of(
            "benchmark_results",
            n,
            {
                "run": key,
                "benchmark": benchmark,
                "what": what,
                "unit": "s",
                "ours": ours,
                "against": "a peer",
                "reference": 2.0,
                "ratio": 2 / ours,
                "target": 1.0,
                "bound": "at least",
                "met": list(2 / ours >= 1),
                "measured_at": measured,
                "machine": "{}",
            },
        )
        file = warehouse.write_rows("benchmark_results", columns, key, benchmark=benchmark)
        commit(
            warehouse,
            "benchmark",
            key,
            collection="benchmarks",
            settings={"benchmark": benchmark},
            files=[file],
            seconds=1.0,
            started_at=measured,
        )
