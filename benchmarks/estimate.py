"""Whether the estimate holds: what it says of two studies, against what they took, stage by stage, on two kinds of machine.

A small study is run here twice, in processes and warehouses of its own: once as this machine is, and once as on an
ordinary one, two cores that know AVX2 and no bfloat16. The demo is read from the warehouse, if its run is there
complete: `ato run pipeline --profile demo` into a new warehouse, then this, both on the idle machine.
`python -m benchmarks.fit_costs` prints the constants that make the estimate exact.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import Measurement, plain
from benchmarks.own_process import call
from benchmarks.program import run
from flows import stages as registry
from flows.estimates.estimate import START, Estimate, estimate
from flows.estimates.machine_rates import MachineRates
from flows.settings import Settings, load_settings, profile_names

COSTS = {name: stage.cost for name, stage in registry.STAGES.items() if stage.cost and not stage.on_demand}
STAGES = {name: registry.STAGES[name].commits for name in COSTS if registry.STAGES[name].commits}
"""Stage of the estimate -> the stages of the warehouse that it commits."""
SMALL = (
    "collect.n_tokens=24000",
    "saes.layers=[12]",
    "saes.d_sae=1024",
    "saes.n_tokens=60000",
    "features.n_tokens=10000",
    "features.candidate_percent=5",
    "operators.source_layers=[8, 10]",
    "operators.leaps=[2, 4]",
    "operators.target_layers=[12]",
    "causal.pairs=null",
    "causal.n_sequences=4",
)
"""The demo with so little of everything that it takes little more than what is the same for all studies."""
TOTAL_WITHIN, STAGE_WITHIN = 1.5, 2.0
Times = dict[str, float]
"""Stage of the estimate -> seconds."""


@dataclass(frozen=True)
class Machine:
    """A kind of machine that a study can be run on here."""

    name: str
    variables: dict[str, str]
    """Environment of the process that runs it."""
    settings: tuple[str, ...] = ()
    """That such a machine chooses by itself."""


MACHINES = (
    Machine("this machine", {}),
    Machine(
        "an AVX2 machine",
        {
            "OMP_NUM_THREADS": "2",
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
        ("model.device=cpu", "model.dtype=float32"),
    ),
)


@dataclass(frozen=True)
class StudyRun:
    """A study that was run on one machine: what the estimate says of it there, and what it took."""

    name: str
    settings: Settings
    found: Estimate
    times: Times
    peak_memory: int
    disk: int


def measure(quick: bool) -> Iterator[Measurement]:
    """Rates, then estimates of all profiles; unless quick, the studies."""
    demo = estimate(load_settings("demo"))
    for name, value in vars(demo.rates).items():
        unit = "B/s" if name in ("memory", "device_memory", "disk") else "FLOP/s"
        yield plain(f"rate {name}, in the precision and at the width of the demo", unit, value)
    yield plain("estimated: demo on this machine", "s", demo.seconds)
    for name in profile_names() if not quick else ():
        if name != "demo":
            yield plain(f"estimated: {name} on this machine", "s", estimate(load_settings(name)).seconds)
    if quick:
        return
    for machine in MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            done = run_on(machine, "small study", SMALL, Path(folder))
        what = f"small study, {machine.name}"
        yield from _figures(what, done.found, done.times)
        yield _ratio(f"{what}: peak memory", "B", done.found.memory_bytes, done.peak_memory, TOTAL_WITHIN)
        yield _ratio(f"{what}: disk", "B", done.found.disk_bytes, done.disk, TOTAL_WITHIN)
    warehouse = Path(os.environ.get("ATO_WAREHOUSE", "data/warehouse"))
    of_demo = stage_seconds(warehouse, load_settings("demo"))
    if of_demo is None:
        print(f"{warehouse} holds no complete run of the demo: it is left out (ato run pipeline --profile demo)")
    else:
        yield from _figures("demo", demo, of_demo)
        yield _ratio("demo: disk", "B", demo.disk_bytes, disk_bytes(warehouse, load_settings("demo")), TOTAL_WITHIN)


def run_on(machine: Machine, name: str, changes: tuple[str, ...], folder: Path) -> StudyRun:
    """Run the demo with these changes on such a machine, unless it was run in this folder before.

    Args:
        machine: kind of machine.
        name: of the study, for people.
        changes: ``a.b=value`` settings.
        folder: takes the warehouse, and what the run says of itself.
    """
    overrides = (*changes, *machine.settings)
    settings, said = load_settings("demo", overrides), folder / "run.json"
    if not said.exists():
        variables = machine.variables | {"PREFECT_HOME": str(folder / "prefect")}
        made = call(folder, "benchmarks.estimate:run_study", list(overrides), **variables)
        said.write_text(json.dumps(made))
    made = json.loads(said.read_text())
    times = stage_seconds(folder / "warehouse", settings)
    assert times is not None, f"{name} left no complete warehouse in {folder}"
    times[START] = made["seconds"] - sum(times.values())
    found = estimate(settings, rates=MachineRates(**made["rates"]))
    return StudyRun(name, settings, found, times, made["peak_memory"], disk_bytes(folder / "warehouse", settings))


def run_study(overrides: list[str]) -> dict[str, Any]:
    """Run a study in this fresh process; returns its wall time with the start, its peak memory, the machine's rates."""
    import psutil

    from ato.models.shapes import model_shape
    from flows.engine.running import run_flow
    from flows.estimates.machine_rates import measure_rates
    from tasks.engine.work_clock import WorkClock

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    settings = load_settings("demo", overrides)
    started = time.time()
    rates = measure_rates(settings, model_shape(settings.model.name).d_model)
    measuring = time.time() - started
    run_flow("pipeline", settings)
    seconds = time.time() - psutil.Process().create_time() - measuring
    return {"seconds": seconds, "peak_memory": WorkClock().lap().peak_memory, "rates": vars(rates)}


def stage_seconds(warehouse: Path, settings: Settings) -> Times | None:
    """Wall time of each stage of the study with these settings; None if it is not there, or older than such times."""
    rows = _stage_rows(warehouse, settings)
    if {row["stage"] for row in rows} != {part for parts in STAGES.values() for part in parts}:
        return None
    if any(row["batch"] is None for row in rows):
        return None
    return {stage: sum(row["seconds"] for row in rows if row["stage"] in parts) for stage, parts in STAGES.items()}


def disk_bytes(warehouse: Path, settings: Settings) -> int:
    """Bytes of all files that the study's manifests name."""
    return sum(row["bytes"] for row in _stage_rows(warehouse, settings))


def _stage_rows(warehouse: Path, settings: Settings) -> list[dict[str, Any]]:
    """Stages of the collection of these settings that were last run; none if any of them was run with other settings."""
    from warehouse.catalog.catalog import rows
    from warehouse.storage.warehouse import Warehouse

    if not (warehouse / "stage_runs").is_dir():
        return []
    found = rows(
        Warehouse(warehouse),
        "select stage, collection, settings, bytes, seconds, batch from stage_runs "
        f"where stage in ({', '.join('?' for parts in STAGES.values() for _ in parts)}) order by started_at",
        [part for parts in STAGES.values() for part in parts],
    )
    wanted = _own_settings(settings)
    keys = [row["collection"] for row in found if row["stage"] == "collect" and _agree(row, wanted["collect"])]
    study = [row for row in found if keys and row["collection"] == keys[-1]]
    return study if all(_agree(row, wanted[row["stage"]]) for row in study) else []


def _own_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Stage of the warehouse -> all settings that may stand in its manifest."""
    every = settings.model_dump(mode="json")
    collect = settings.collecting.model_dump(mode="json") | {"layers": settings.layers}
    judged, operators = every["evaluate"], every["operators"] | every["evaluate"]
    saes = {name: value for name, value in every["saes"].items() if name != "layers"}
    operators.pop("methods")  # each pair names its own: not every method is for every pair
    return {
        "collect": collect,
        "moments": operators,
        "sae_weights": saes,
        "saes": saes | judged,
        "features": {},
        "feature_scores": every["features"] | judged,
        "operators": operators,
        "evaluate": operators,
        "causal": every["causal"] | judged,
        "report": every["report"],
    }


def _agree(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether what a manifest and the settings both name has the same value; lists may be sorted in one of them."""
    stored = json.loads(row["settings"])
    return all(_sorted(stored[name]) == _sorted(wanted[name]) for name in {*stored} & {*wanted})


def _sorted(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, list) else value


def _figures(study: str, found: Estimate, measured: Times) -> Iterator[Measurement]:
    """The whole, then every stage, each estimated against measured."""
    estimated = {stage: found.by_stage[stage].seconds for stage in measured}  # a demo that was read has no start
    yield _ratio(f"{study}: time", "s", sum(estimated.values()), sum(measured.values()), TOTAL_WITHIN)
    for stage, taken in measured.items():
        yield _ratio(f"{study}: time of {stage}", "s", estimated[stage], taken, STAGE_WITHIN)


def _ratio(what: str, unit: str, estimated: float, taken: float, at_most: float) -> Measurement:
    """How many times too large or too small an estimate is."""
    off = max(estimated / taken, taken / estimated)
    return Measurement(what, unit, estimated, "what was measured", taken, off, at_most, at_least=False)


if __name__ == "__main__":
    sys.exit(run("estimate", measure, __doc__))
