"""Whether the estimate holds: what it says of two studies, against what they took, stage by stage.

The demo is read from the warehouse, if its run is there complete: `ato run pipeline --profile demo` into a new
warehouse, then this, both on the idle machine. A small study is run here, in a warehouse of its own and a process of
its own. The last figures are the constants (``Cost`` of each stage in flows/stages.py) that would make the estimate exact.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measurement import Measurement, plain, rate
from benchmarks.program import run
from benchmarks.timing import peak_memory, seconds
from flows import stages as registry
from flows.estimates.estimate import START, START_SECONDS, Estimate, estimate
from flows.estimates.machine_rates import MachineRates
from flows.settings import Settings, load_settings, profile_names

COSTS = {name: stage.cost for name, stage in registry.STAGES.items() if stage.cost}
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
    "causal.n_sequences=4",
)
"""The demo with so little of everything that it takes little more than what is the same for all studies."""
TOTAL_WITHIN, STAGE_WITHIN = 1.5, 2.0
Times = dict[str, float]


def measure(quick: bool) -> Iterator[Measurement]:
    """Rates, then estimates of all profiles; unless quick, both studies and the constants that fit them."""
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
    small = load_settings("demo", SMALL)
    with tempfile.TemporaryDirectory() as folder:
        taken, peak = seconds(lambda: peak_memory("benchmarks.estimate:run_study", folder))
        measured = stage_seconds(Path(folder, "warehouse"), small)
        assert measured is not None, "the small study left no complete warehouse"
        # What is before the first stage and behind the last is in no stage's row.
        measured["start and report"] = taken - sum(measured.values())
        found = estimate(small, rates=demo.rates)
        yield from _figures("small study", found, measured)
        yield _ratio("small study: peak memory", "B", found.memory_bytes, peak * 2**20, TOTAL_WITHIN)
        yield _ratio(
            "small study: disk", "B", found.disk_bytes, disk_bytes(Path(folder, "warehouse"), small), TOTAL_WITHIN
        )
    warehouse = Path(os.environ.get("ATO_WAREHOUSE", "data/warehouse"))
    of_demo = stage_seconds(warehouse, load_settings("demo"))
    if of_demo is None:
        print(f"{warehouse} holds no complete run of the demo: it is left out (ato run pipeline --profile demo)")
    else:
        yield from _figures("demo", demo, of_demo)
        yield _ratio("demo: disk", "B", demo.disk_bytes, disk_bytes(warehouse, load_settings("demo")), TOTAL_WITHIN)
    yield from _constants(demo.rates, found, measured, demo, of_demo)


def run_study(folder: str) -> None:
    """Run the small study in a warehouse and a Prefect database of its own; called in a fresh process."""
    os.environ |= {"ATO_WAREHOUSE": f"{folder}/warehouse", "PREFECT_HOME": f"{folder}/prefect"}
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    from flows.engine.environment import prepare_environment

    prepare_environment()
    from flows.engine.running import run_flow

    run_flow("pipeline", load_settings("demo", SMALL))


def stage_seconds(warehouse: Path, settings: Settings) -> Times | None:
    """Wall time of each stage of the study with these settings; None if it is not there, or not by itself.

    A stage lasts from the end of the last work of the one before it to the end of its own last work: stages that share
    one pass note only what each of them did by itself. Checks at the end of a stage are thus counted with the next.
    """
    rows = _stage_rows(warehouse, settings)
    ends: dict[str, float] = {}
    for stage, parts in STAGES.items():
        own = [row for row in rows if row["stage"] in parts]
        if {row["stage"] for row in own} != set(parts):
            return None
        ends[stage] = max(row["started"] + row["seconds"] for row in own)
    begun = min(row["started"] for row in rows)
    starts = [begun, *list(ends.values())[:-1]]
    times = {stage: end - start for (stage, end), start in zip(ends.items(), starts, strict=True)}
    return times if min(times.values()) > 0 else None


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
        "select stage, collection, settings, bytes, seconds, epoch(started_at) as started from stage_runs "
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
    }


def _agree(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether what a manifest and the settings both name has the same value; lists may be sorted in one of them."""
    stored = json.loads(row["settings"])
    return all(_sorted(stored[name]) == _sorted(wanted[name]) for name in {*stored} & {*wanted})


def _sorted(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, list) else value


def _figures(study: str, found: Estimate, measured: Times) -> Iterator[Measurement]:
    """The whole, then every stage, each estimated against measured."""
    estimated = _seconds_of(found, measured)
    yield _ratio(f"{study}: time", "s", sum(estimated.values()), sum(measured.values()), TOTAL_WITHIN)
    for stage, taken in measured.items():
        yield _ratio(f"{study}: time of {stage}", "s", estimated[stage], taken, STAGE_WITHIN)


def _seconds_of(found: Estimate, measured: Times) -> Times:
    """The estimated seconds of what was measured; a demo's start and report were not."""
    times = {stage: of.seconds for stage, of in found.by_stage.items()}
    times["start and report"] = times[START] + times["report"]
    return {stage: times[stage] for stage in measured}


def _ratio(what: str, unit: str, estimated: float, taken: float, at_most: float) -> Measurement:
    """How many times too large or too small an estimate is."""
    off = max(estimated / taken, taken / estimated)
    return Measurement(what, unit, estimated, "what was measured", taken, off, at_most, at_least=False)


def _constants(
    rates: MachineRates, small: Estimate, of_small: Times, demo: Estimate, of_demo: Times | None
) -> Iterator[Measurement]:
    """What the constants should be: of two studies, two equations a stage."""
    for stage in STAGES:
        works = [found.by_stage[stage].work for found in (small, demo)]
        ideal = [work.ideal_seconds(rates) for work in works]
        slowdown = COSTS[stage].slowdown
        if of_demo is not None:
            left = [times[stage] - work.seconds for times, work in zip((of_small, of_demo), works, strict=True)]
            # The fixed part cannot be negative: then the demo alone decides.
            slowdown = min((left[1] - left[0]) / (ideal[1] - ideal[0]), left[1] / ideal[1])
            yield rate(f"slowdown of {stage} should be", "x", slowdown, "what it is", COSTS[stage].slowdown)
        fixed = max(0.0, of_small[stage] - works[0].seconds - slowdown * ideal[0])
        yield rate(f"fixed seconds of {stage} should be", "s", fixed, "what they are", COSTS[stage].fixed_seconds)
    both = of_small["start and report"] - small.by_stage[START].work.ideal_seconds(rates)
    now = START_SECONDS + COSTS["report"].fixed_seconds
    yield rate("fixed seconds of start and report should be", "s", both, "what they are", now)


if __name__ == "__main__":
    sys.exit(run("estimate", measure, __doc__))
