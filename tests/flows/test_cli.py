"""The command line: quick help, one-line errors, no traceback for a user's mistake."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from tests.flows.forked_stages import SMALL
from tests.flows.tiny_study import tiny_settings
from warehouse.storage.warehouse import Warehouse

ROOT = Path(__file__).parents[2]


OUTER = ("ATO_WAREHOUSE", "PREFECT_HOME", "PREFECT_API_URL")
"""Variables that would tell a command of another warehouse or server."""


@pytest.fixture
def ato(programs, tmp_path_factory):
    """Runs the command in a process of its own, on a warehouse."""
    printed = tmp_path_factory.mktemp("printed")

    def run(*arguments: str, warehouse: Path, **environment: str) -> subprocess.CompletedProcess:
        environment = {"ATO_WAREHOUSE": str(warehouse), "COLUMNS": "160"} | environment
        return programs.run("flows.cli", *arguments, folder=printed, **environment)

    return run


COMMANDS = (
    "run",
    "sql",
    "tables",
    "show",
    "report",
    "export",
    "check",
    "up",
    "deploy",
    "gc",
    "doctor",
    "find",
    "steer",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, tmp_path):
    with patch.dict(os.environ, {"ATO_WAREHOUSE": str(tmp_path)}):  # the command sets variables of its process
        done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example: ato" in done.output


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from flows.cli import app; app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'prefect', 'transformers', 'sae_lens', 'mlflow', 'great_expectations', 'duckdb', 'pandas'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_sigterm_ends_a_command_with_what_ends_at_exit_such_as_its_server():
    code = (
        "import atexit, os, signal; from flows import cli\n"
        "atexit.register(print, 'the server was stopped')\n"
        "cli.app = lambda **options: (os.kill(os.getpid(), signal.SIGTERM), signal.pause())\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert "the server was stopped" in done.stdout
    assert done.stderr.strip() == "error ended by SIGTERM: run the same command again to resume"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "pipelin"), "pipeline"),
        (("run", "pipeline", "--profile", "nonesuch"), "no profile 'nonesuch'"),
        (("run", "pipeline", "--set", "collect.n_token=5"), "did you mean collect.n_tokens?"),
        (("sql", "select * from nonesuch"), "nonesuch"),
        (("sql", "drop table operators"), "only read-only statements"),
        (("tables", "nonesuch"), "no table 'nonesuch'"),
        (("show",), "no collection yet"),
        (("sql", "select 1", "--output", "/proc/none/x.csv"), "no such file or directory (/proc/none): name a file"),
        (("list", "export", "/proc/none/x.csv"), "no such file or directory (/proc/none): name a file"),
        (("list", "export", "/dev/null/x.csv"), "file exists (/dev/null): name a new file or folder"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error(ato, arguments, message, tmp_path):
    Warehouse(tmp_path / "warehouse").create()
    done = ato(*arguments, warehouse=tmp_path / "warehouse")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_warehouse_answers_with_empty_tables(ato, tmp_path):
    Warehouse(tmp_path / "w").create()
    assert "feature_transport" in ato("tables", warehouse=tmp_path / "w").stdout
    assert (
        ato("sql", "select count(*) as n from operators", "--format", "csv", warehouse=tmp_path / "w").stdout
        == "n\n0\n"
    )
    assert ato("check", warehouse=tmp_path / "w").returncode == 0


@pytest.mark.parametrize(
    "arguments", [("sql", "from operators"), ("tables",), ("report",), ("show",), ("check",), ("doctor",), ("gc",)]
)
def test_a_folder_without_a_warehouse_stays_as_it_is(programs, arguments, tmp_path, tmp_path_factory):
    printed = tmp_path_factory.mktemp("printed")
    done = programs.run("flows.cli", *arguments, folder=printed, cwd=tmp_path, without=OUTER, COLUMNS="300")
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in done.stderr
    if arguments[0] in ("sql", "tables"):
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
        assert "there is no warehouse" in done.stderr


@pytest.mark.parametrize("kind", ["a file", "a link to nothing", "empty"])
@pytest.mark.parametrize("arguments", [("check",), ("sql", "from operators"), ("run", "pipeline")])
def test_a_warehouse_that_cannot_be_one_is_an_error_of_one_line(ato, kind, arguments, tmp_path):
    (tmp_path / "a file").write_text("x")
    (tmp_path / "a link to nothing").symlink_to("nowhere")
    done = ato(*arguments, warehouse=tmp_path, ATO_WAREHOUSE="" if kind == "empty" else str(tmp_path / kind))
    assert done.returncode == 1
    assert ("has no name" if kind == "empty" else kind) in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def study(programs, tmp_path_factory):
    """A function that runs ``ato`` with a profile of the tiny study (``TINY``) and a warehouse of its own."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings(folder, **SMALL).model_dump(mode="json")))
    warehouse = {"ATO_WAREHOUSE": str(folder / "data" / "warehouse")}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess:
        given = [argument.replace("TINY", str(folder / "tiny.yaml")) for argument in arguments]
        return programs.run("flows.cli", *given, folder=folder, without=OUTER, **warehouse, **more)

    return run


@pytest.mark.slow
def test_a_study_runs_shows_answers_and_checks(study):
    done = study("run", "pipeline", "--profile", "TINY")
    assert done.returncode == 0, done.stderr
    assert "Transport map" in done.stdout
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr
    again = study("run", "pipeline", "--profile", "TINY")
    assert "is complete, skipped" in again.stderr
    assert "loading" not in again.stderr
    assert again.stdout == done.stdout
    assert "ridge" in study("show", "operators").stdout
    assert study("sql", "select count(*) as n from operators", "--format", "csv").stdout == "n\n4\n"
    assert study("check").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message", "own_server"),
    [
        ("model.name=no-such/model", "no-such/model", False),
        ("operators.leaps=[40]", "behind the last layer", False),
        ("collect.corpus=nowhere.txt", "nowhere.txt", True),
    ],
)
def test_a_failing_run_ends_with_one_line_and_no_traceback(study, prefect_server, override, message, own_server):
    from prefect.settings import PREFECT_API_URL

    server = {} if own_server else {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = study("run", "pipeline", "--profile", "TINY", "--set", override, **server)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    *progress, last = done.stderr.strip().splitlines()
    assert last.startswith("error")
    assert message in last
    said = {line.split()[0] for line in progress}
    assert said <= {"start", "estimate", "pipeline", "model", "collect"}
    assert "estimate" not in said or "no-such/model" not in override
