"""The table of the published study in docs/study.md: each of its commands runs, here on a tiny model, and fills its tables."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from flows.settings import load_settings, profile_names
from tests.flows.forked_stages import SMALL
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows

PAGE = (Path(__file__).parents[1] / "docs" / "study.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## The published study, piece by piece")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^\| .+? \| `ato run (.+?)` \|(.*?)\|$", SECTION, re.MULTILINE)
COMMANDS.append((re.findall(r"`ato run (evaluate --set operators.position_policy=\S+)`", SECTION)[0], ""))

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """A profile of the tiny study with a warehouse of its own, that all commands share."""
    folder = tmp_path_factory.mktemp("study")
    smaller = {name: SMALL[name] for name in ("saes", "features", "evaluate", "causal")}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings(folder, **smaller).model_dump(mode="json")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "data" / "warehouse"))
        yield str(folder / "tiny.yaml")


def test_the_table_names_every_flow():
    assert len(COMMANDS) == 13
    assert {command.split()[0] for command, _ in COMMANDS} == {
        "collect",
        "saes",
        "features",
        "explain",
        "operators",
        "evaluate",
        "causal",
        "pipeline",
        "report",
    }


@pytest.mark.parametrize(("command", "tables"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_the_command_of_the_table_runs_and_fills_its_tables(command, tables, profile):
    name, *options = shlex.split(command)
    given = dict(zip(options[::2], options[1::2]))
    if (
        "--profile" in given
    ):  # models that must be downloaded: their settings are valid, the flow is run on the tiny one
        assert given["--profile"] in profile_names()
        load_settings(given["--profile"])
    settings = load_settings(
        profile, [given["--set"]] if "--set" in given else [], [given["--preset"]] if "--preset" in given else []
    )
    getattr(importlib.import_module(f"flows.{name}"), name)(settings)
    for table in re.findall(r"`(\w+)`", tables):
        if table != "explanations":  # the tiny SAEs are on no Neuronpedia; tests/tasks/explain/test_task.py fills it
            assert rows(None, f"select count(*) as n from {table}")[0]["n"] > 0, table
