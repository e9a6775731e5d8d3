"""kill -9 at any point: the next run resumes, and the tables are those of an undisturbed run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.tiny_study import tiny_settings
from warehouse.catalog import rows
from warehouse.tables import TABLES

ROOT = Path(__file__).parents[2]

RUN_STAGES = """
import os, signal, sys
from flows.environment import prepare_environment
prepare_environment()
from warehouse import storage
from flows.settings import Settings
from tasks.collect import collect_residuals
from tasks.saes import obtain_saes
from tasks.features import measure_features, score_features
from tasks.causal import measure_causal
from tasks.operators import fit_operators
from tasks.evaluate import evaluate_operators

left, replace = int(sys.argv[2]), os.replace

def replace_or_die(source, target):
    # The crash falls between writing a file and giving it its name, the worst moment there is.
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

storage.os.replace = replace_or_die
s = Settings.model_validate_json(sys.argv[1])
# The stages as plain functions: what survives a crash does not depend on Prefect.
key = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
saes = obtain_saes.fn(key, s.model, s.saes, s.evaluate)
measure_features.fn(key, saes, s.model)
score_features.fn(key, saes, s.model, s.features, s.evaluate)
fit_operators.fn(key, saes, s.model, s.operators, s.evaluate)
evaluate_operators.fn(key, saes, s.model, s.operators, s.evaluate)
measure_causal.fn(key, saes, s.model, s.operators, s.evaluate, s.causal)
print("PUBLISHED", int(sys.argv[2]) - left)
"""


def run_stages(settings, warehouse: Path, die_at: int) -> subprocess.CompletedProcess:
    """Run all stages in a process that kills itself when it publishes file number ``die_at`` (0: never)."""
    return subprocess.run(
        [sys.executable, "-c", RUN_STAGES, settings.model_dump_json(), str(die_at)],
        cwd=ROOT, env=os.environ | {"ATO_WAREHOUSE": str(warehouse), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def contents(warehouse: Path) -> dict[str, list]:
    """All rows of all tables but clock times and the manifests' own."""
    found = {}
    for name, table in TABLES.items():
        steady = [c.name for c in table.columns if not c.volatile]
        found[name] = rows(warehouse, f"select {', '.join(steady)} from {name} order by {', '.join(table.key)}")
    for run in found["stage_runs"]:
        run["files"] = sorted(f["path"] for f in run["files"])
        run.pop("bytes")  # the row of the collection holds the time it was made
    return found


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_tables_of_an_undisturbed_one(tmp_path):
    settings = tiny_settings(tmp_path)
    whole = run_stages(settings, tmp_path / "whole" / "warehouse", 0)
    assert whole.returncode == 0, whole.stderr
    published = int(whole.stdout.split("PUBLISHED")[1])
    undisturbed = contents(tmp_path / "whole" / "warehouse")
    crashed = tmp_path / "crashed" / "warehouse"
    points = [2, 12, published // 3, published // 2]  # counted from the start of each run
    for point in points:
        died = run_stages(settings, crashed, point)
        assert died.returncode == -signal.SIGKILL, died.stderr
    done = run_stages(settings, crashed, 0)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("PUBLISHED")[1]) < published  # something was resumed, not all of it made again
    assert contents(crashed) == undisturbed
