"""The benchmarks run and print ratios; how large these are is for people to read, never for a test to assert."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import estimate as checked
from benchmarks.__main__ import BY_NAME, NAMES
from benchmarks.fit_costs import Observation, fit
from benchmarks.measurement import growth, rate, speedup, within
from benchmarks.page import section
from benchmarks.program import line
from flows.judging.judge import judge
from flows.settings import load_settings

ROOT = Path(__file__).parents[1]
KEPT = "moments"
"""The benchmark that is run as people run them, by ``python -m benchmarks``, so that its figures are kept."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in (*NAMES, *BY_NAME) if name != KEPT])
def test_every_benchmark_prints_its_figures_and_agrees_with_its_peers(programs, prefect_server, name, tmp_path):
    from prefect.settings import PREFECT_API_URL

    warehouse, server = tmp_path / "warehouse", str(PREFECT_API_URL.value())
    arguments = (f"benchmarks.{name}", "--no-warehouse", "--quick")
    done = programs.run(*arguments, folder=tmp_path, ATO_WAREHOUSE=str(warehouse), PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    assert ("estimated: demo" if name == "estimate" else "against") in done.stdout
    assert not warehouse.exists()


@pytest.mark.slow
def test_figures_of_a_run_agree_with_its_peers_and_are_rows_of_the_warehouse_that_sql_reads(tmp_path):
    from warehouse.catalog.catalog import rows

    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ATO_WAREHOUSE": str(tmp_path / "warehouse"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "benchmarks", KEPT, "--quick"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "against" in done.stdout
    assert "targets met" in done.stdout
    found = rows(tmp_path / "warehouse", "select benchmark, quick, met from benchmark_results where target > 0")
    assert found
    assert {(row["benchmark"], row["quick"]) for row in found} == {(KEPT, True)}
    assert all(row["met"] is not None for row in found)


def test_the_study_of_the_estimate_s_benchmark_can_be_run():
    judge(load_settings("demo", list(checked.SMALL)), "pipeline")


def test_the_page_names_every_figure_with_a_target_and_the_reason_of_a_miss():
    machine = json.dumps({"cpu": "Z80", "cores": 1, "torch": "2.0+x"})
    row = {"benchmark": "sql", "unit": "s", "against": "a limit", "bound": "at most", "target": 1.0, "machine": machine}
    kept = row | {"what": "a mart", "ours": 0.5, "reference": 1.0, "ratio": 0.5, "met": True, "why_missed": "old"}
    missed = row | {"what": "another", "ours": 2.0, "reference": 1.0, "ratio": 2.0, "met": False, "why_missed": "new"}
    first, *lines = section([kept, missed])
    assert first == "The figures with targets: Z80, 1 cores, torch 2.0."
    assert "| sql | a mart, against a limit | 0.5 s | 1 s | 0.500 | at most 1: met |" in lines
    assert lines[-1] == "- **another**: new."
    assert "old" not in "".join(lines)


@pytest.mark.parametrize(
    ("measurement", "ratio", "met"),
    [
        (rate("collection", "tokens/s", 90.0, "bare forward", 100.0, at_least=0.9), 0.9, True),
        (speedup("fit", 2.0, "a loop", 10.0, at_least=6), 5.0, False),
        (growth("a further leap", "s", 1.0, "the first", 4.0, at_most=0.5), 0.25, True),
        (within("mart", "s", 1.5, at_most=1), 1.5, False),
        (speedup("fit", 2.0, "a loop", 10.0), 5.0, None),
    ],
)
def test_a_ratio_says_how_much_better_or_how_much_more(measurement, ratio, met):
    assert measurement.ratio == pytest.approx(ratio)
    assert measurement.met is met


def test_a_missed_target_is_printed_with_its_reason():
    missed = speedup("fit", 2.0, "a loop", 10.0, at_least=6, why_missed="memory bound")
    assert "at least 6: MISSED\n    memory bound" in line(missed)
    kept = speedup("fit", 1.0, "a loop", 10.0, at_least=6, why_missed="memory bound")
    assert "memory bound" not in line(kept)


def test_a_stage_takes_the_seconds_of_all_its_runs(monkeypatch):
    parts = [part for parts in checked.STAGES.values() for part in parts]
    rows = [{"stage": part, "seconds": 2.0 + i, "batch": "k"} for part in parts for i in (0, 1)]
    monkeypatch.setattr(checked, "_stage_rows", lambda *_: rows)
    expected = {stage: 5.0 * len(parts) for stage, parts in checked.STAGES.items()}
    assert checked.stage_seconds(Path(), load_settings("demo")) == expected
    monkeypatch.setattr(checked, "_stage_rows", lambda *_: rows[:-2])
    assert checked.stage_seconds(Path(), load_settings("demo")) is None
    monkeypatch.setattr(checked, "_stage_rows", lambda *_: [row | {"batch": None} for row in rows])
    assert checked.stage_seconds(Path(), load_settings("demo")) is None


def test_planted_constants_are_fitted_from_two_studies_on_two_machines():
    ideals = {"small study, fast": 2.0, "demo, fast": 40.0, "small study, slow": 9.0, "demo, slow": 170.0}
    found = [Observation(run, 4.0 + 1.5 + 1.3 * ideal, 1.5, ideal) for run, ideal in ideals.items()]
    assert fit(found) == pytest.approx((4.0, 1.3), rel=1e-3)
    fixed, slowdown = fit([Observation(run, 1.3 * ideal, 0.0, ideal) for run, ideal in ideals.items()])
    assert (fixed, slowdown) == pytest.approx((0.0, 1.3), abs=1e-2)


@pytest.mark.parametrize(("stored", "same"), [({"k": 32, "layer": 12}, True), ({"k": 64, "layer": 12}, False)])
def test_a_study_is_the_demo_only_if_its_settings_are(stored, same):
    own = checked._own_settings(load_settings("demo"))["sae_weights"]
    assert checked._agree({"settings": json.dumps(stored)}, own) is same
