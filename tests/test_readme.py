"""The README: each of its commands exists, its settings load, its queries are those the summary offers."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.show import EXAMPLES
from flows.settings import Settings, load_settings
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([\w-]+)", README))
    assert {"run", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_ato_command_of_the_readme_exists():
    verbs = set(re.findall(r"[`\n]ato ([a-z]+)\b", README))
    assert verbs == {"run", "sql", "tables", "show", "report", "export", "up", "deploy", "gc", "check", "doctor"}
    for verb in verbs:
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


def test_every_override_of_the_readme_is_a_setting():
    overrides = re.findall(r"--set ([^\s`]+)", README)
    assert overrides
    for override in overrides:
        assert load_settings("demo", [override]) != load_settings("demo")


def test_the_example_profile_of_the_readme_is_valid():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert Settings.model_validate(yaml.safe_load(text)).operators.leaps == [1, 2, 3]


def test_the_python_of_the_readme_runs_and_is_what_mypy_reads(tmp_path, monkeypatch, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    notebook = ROOT / "tests" / "readme_notebook.py"
    assert notebook.read_text(encoding="utf-8").partition("# README\n")[2] == snippet
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    names = runpy.run_path(str(notebook))
    assert names["predicted"].shape == (len(names["X_new"]), names["Y"].shape[1])
    assert names["rank_8"].rank == 8
    assert "verdict" in capsys.readouterr().out


@pytest.mark.parametrize("query", EXAMPLES)
def test_the_readme_shows_the_queries_that_the_summary_offers(query, tmp_path):
    assert f'ato sql "{query}"' in README
    assert run_select(connect(tmp_path / "w"), query) is not None


def test_the_picture_of_the_readme_needs_nothing_from_elsewhere():
    picture = (ROOT / "docs" / "summary.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture
    assert "<image" not in picture
