"""The command line: quick help, one-line errors, no traceback for a user's mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ato(*arguments: str, warehouse: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env=os.environ | {"ATO_WAREHOUSE": str(warehouse), "COLUMNS": "160"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


COMMANDS = ("run", "sql", "tables", "show", "check", "up", "deploy", "gc", "doctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, tmp_path):
    done = ato(command, "--help", warehouse=tmp_path)
    assert done.returncode == 0
    assert "Example: ato" in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from flows.cli import app; app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'prefect', 'transformers', 'sae_lens', 'mlflow', 'great_expectations', 'duckdb', 'pandas'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


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
    ],
)
def test_a_mistake_is_one_line_on_standard_error(arguments, message, tmp_path):
    done = ato(*arguments, warehouse=tmp_path / "warehouse")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_warehouse_answers_with_empty_tables(tmp_path):
    assert "feature_transport" in ato("tables", warehouse=tmp_path / "w").stdout
    assert (
        ato("sql", "select count(*) as n from operators", "--format", "csv", warehouse=tmp_path / "w").stdout
        == "n\n0\n"
    )
    assert ato("check", warehouse=tmp_path / "w").returncode == 0


def test_the_shell_runs_statements_and_survives_a_wrong_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "sql", "--format", "csv"],
        cwd=ROOT,
        env=os.environ | {"ATO_WAREHOUSE": str(tmp_path / "w")},
        input="select 1 as a;\nselect nonsense;\nselect 2 as b;\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a\n1\nb\n2\n"
    assert "nonsense" in done.stderr
