"""The commands as a person runs them: a process of its own, a Prefect server of its own, a whole small study."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.flows.forked_stages import SMALL
from tests.flows.tiny_study import tiny_settings

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ato(tmp_path_factory):
    """A function that runs ``ato`` with a profile of the tiny study and a warehouse of its own."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings(folder, **SMALL).model_dump(mode="json")))
    environment = {name: value for name, value in os.environ.items() if name not in ("PREFECT_HOME", "PREFECT_API_URL")}
    environment |= {"ATO_WAREHOUSE": str(folder / "data" / "warehouse"), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            "-m",
            "flows.cli",
            *(a.replace("TINY", str(folder / "tiny.yaml")) for a in arguments),
        ]
        return subprocess.run(command, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=False)

    return run


def test_a_study_runs_shows_answers_and_checks(ato):
    done = ato("run", "pipeline", "--profile", "TINY")
    assert done.returncode == 0, done.stderr
    assert "Transport map" in done.stdout
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr
    again = ato("run", "pipeline", "--profile", "TINY")
    assert "is complete, skipped" in again.stderr
    assert "loading" not in again.stderr
    assert again.stdout == done.stdout
    assert "ridge" in ato("show", "operators").stdout
    assert ato("sql", "select count(*) as n from operators", "--format", "csv").stdout == "n\n4\n"
    assert ato("check").returncode == 0


@pytest.mark.parametrize(
    ("override", "message", "own_server"),
    [
        ("model.name=no-such/model", "no-such/model", False),
        ("operators.leaps=[40]", "layers", False),
        ("collect.corpus=nowhere.txt", "nowhere.txt", True),
    ],
)
def test_a_failing_run_ends_with_one_line_and_no_traceback(ato, prefect_server, override, message, own_server):
    from prefect.settings import PREFECT_API_URL

    server = {} if own_server else {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = ato("run", "pipeline", "--profile", "TINY", "--set", override, **server)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    *progress, last = done.stderr.strip().splitlines()
    assert last.startswith("error")
    assert message in last
    assert all(line.split()[0] in ("estimate", "model", "collect") for line in progress)
