"""The benchmarks run and print ratios; how large these are is for people to read, never for a test to assert."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(*arguments: str, warehouse: Path) -> str:
    """Standard output of a benchmark program."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ATO_WAREHOUSE": str(warehouse), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_collection_benchmark_prints_its_ratio_to_the_bare_forward_pass(tmp_path):
    model = save_tiny_model(tmp_path / "model", n_layers=3)
    out = run(
        "benchmarks/collect.py", "--model", str(model), "--layers", "0", "2", "--tokens", "60000", "--rounds", "1",
        warehouse=tmp_path / "warehouse",
    )  # fmt: skip
    assert "median ratio" in out


def test_the_operator_benchmark_prints_its_ratio_to_scikit_learn(tmp_path):
    assert "scikit-learn" in run("benchmarks/operators.py", "--quick", warehouse=tmp_path / "warehouse")


def test_the_study_benchmark_prints_its_ratios_and_its_memory(tmp_path):
    out = run("benchmarks/study.py", "--quick", warehouse=tmp_path / "warehouse")
    for part in ("per-feature scores", "elastic net", "largest differences", "peak memory"):
        assert part in out
