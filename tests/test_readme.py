"""README and pages for users: each command exists, settings load, queries are those the summary offers; README is short."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.summary.queries import ENTITY_EXAMPLES, EXAMPLES, STUDY_EXAMPLES
from flows.settings import Settings, load_settings
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


def test_the_readme_is_read_in_a_minute():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("page", TEXT)
def test_every_make_target_of_a_page_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z][\w-]*)", TEXT[page], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_target_of_the_makefile_is_listed_with_the_commands():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.+)", makefile, re.MULTILINE)
    assert [target for target in targets.split() if f"`make {target}`" not in COMMANDS] == []


def test_every_ato_command_is_listed_and_exists():
    listed = set(re.findall(r"^\| `ato ([a-z-]+)\b", COMMANDS, re.MULTILINE))
    assert listed == {
        "run",
        "publish",
        "list",
        "note",
        "settings",
        "sql",
        "tables",
        "show",
        "report",
        "export",
        "find",
        "search",
        "activations",
        "steer",
        "graph",
        "fate",
        "compare",
        "up",
        "deploy",
        "gc",
        "check",
        "doctor",
        "serve-judge",
    }
    assert set(re.findall(r"(?:`|\n|bin/)ato ([a-z]+)\b", README)) <= listed
    for verb in listed:
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


@pytest.mark.parametrize("page", ["commands.md", "models.md", "architecture.md", "study.md"])
def test_every_override_of_a_page_is_a_setting(page):
    overrides = re.findall(r"--set ((?!stage\.)[^\s`]+)", TEXT[page])
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
    Warehouse().create()
    names = runpy.run_path(str(notebook))
    assert names["predicted"].shape == (len(names["X_new"]), names["Y"].shape[1])
    assert names["rank_8"].rank == 8
    assert "verdict" in capsys.readouterr().out


@pytest.mark.parametrize("query", [*EXAMPLES, *ENTITY_EXAMPLES, *STUDY_EXAMPLES])
def test_the_readme_shows_the_queries_that_the_summary_offers(query, tmp_path):
    assert f'ato sql "{query}"' in README
    assert run_select(connect(tmp_path / "w", must_exist=False), query) is not None


def test_the_picture_of_the_readme_needs_nothing_from_elsewhere():
    picture = (ROOT / "docs" / "summary.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture
    assert "<image" not in picture
