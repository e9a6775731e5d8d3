"""A benchmark as a program: prints its figures as a table, and keeps them as JSON and in the table ``benchmark_results``."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measurement import Measurement
from flows.engine.environment import make_data_folder, prepare_environment

if TYPE_CHECKING:
    from tasks.engine.stage import Stage

Measure = Callable[[bool], Iterator[Measurement]]
"""Yields figures; the argument asks for sizes that take seconds instead of minutes."""


def run(name: str, measure: Measure, description: str | None) -> int:
    """Measure and print; exit status 1 if a result of ours is wrong (``measure`` raises AssertionError).

    Args:
        name: of the benchmark.
        measure: the work.
        description: docstring of the program, for ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds; figures mean little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--no-warehouse", action="store_true", help="leave the warehouse alone")
    arguments = parser.parse_args()
    prepare_environment()
    make_data_folder()
    started = datetime.now(UTC)
    machine = machine_facts()
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in machine.items() if value)}", flush=True)
    print(header(), flush=True)
    rows: list[dict[str, Any]] = []
    try:
        with nullcontext() if arguments.no_warehouse else _stage(name, started) as stage:
            for measurement in measure(arguments.quick):
                rows.append(_row(name, measurement, machine, arguments.quick, started))
                print(line(measurement), flush=True)
            if stage is not None:
                own = [{"run": stage.key} | row for row in rows]
                stage.add(stage.warehouse.write_rows("benchmark_results", own, stage.key, benchmark=name))
    except AssertionError as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    finally:
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, default=str, indent=1) + "\n")
    return 0


def _stage(name: str, started: datetime) -> "Stage":
    """The run of a benchmark as a stage of the warehouse."""
    from tasks.engine.stage import Stage
    from warehouse.storage.warehouse import Warehouse

    settings = {"benchmark": name, "measured_at": started.isoformat()}
    return Stage(Warehouse(), "benchmark", f"benchmark-{name}", settings=settings, inputs=[], collection=COLLECTION)


def header() -> str:
    """The head of the table that ``line`` fills."""
    return f"{'':<84} {'ours':>10} {'reference':>10} {'unit':<9} {'ratio':>8}  target"


def line(m: Measurement) -> str:
    """One figure as a row of text; a reason follows where a target is missed."""
    what = m.what if m.against is None else f"{m.what}, against {m.against}"
    reference = "" if m.reference is None else number(m.reference)
    ratio = "" if m.ratio is None else f"{m.ratio:.3f}" if m.ratio < 10 else f"{m.ratio:.1f}"
    text = f"{what:<84} {number(m.ours):>10} {reference:>10} {m.unit:<9} {ratio:>8}"
    if m.met is not None:
        text += f"  {'at least' if m.at_least else 'at most'} {m.target:g}: {'met' if m.met else 'MISSED'}"
    if m.met is False and m.why_missed:
        text += f"\n    {m.why_missed}"
    return text


def machine_facts() -> dict[str, Any]:
    """What the figures were measured on."""
    import psutil
    import torch

    cpu = Path("/proc/cpuinfo")
    named = (
        [row.split(":")[1].strip() for row in cpu.read_text().splitlines() if "model name" in row]
        if cpu.exists()
        else []
    )
    cuda = torch.cuda.is_available()
    return {
        "cpu": named[0] if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}" if cuda else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


COLLECTION = "benchmarks"
"""Stands where other stages name their collection."""


def _row(name: str, m: Measurement, machine: dict[str, Any], quick: bool, started: datetime) -> dict[str, Any]:
    columns = asdict(m)
    at_least = columns.pop("at_least")
    bound = None if m.target is None else "at least" if at_least else "at most"
    return {
        "benchmark": name,
        **columns,
        "bound": bound,
        "met": m.met,
        "quick": quick,
        "machine": json.dumps(machine),
        "measured_at": started,
    }


def number(value: float) -> str:
    """Four significant digits, with a suffix for large numbers."""
    for suffix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= scale:
            return f"{value / (1e3 if suffix == 'k' else scale):.4g}{suffix}"
    return f"{value:.4g}"
