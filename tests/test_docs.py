"""README and docs name no file that does not exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = ("ato", "warehouse", "tasks", "flows", "dashboards", "benchmarks", "tests", "docs", "examples", ".ci")
NO_PATHS = {"dashboards/pages/NAME/", "tasks/s"}
"""What reads like a path and is none: a pattern for files to come, and a unit."""
PATH = re.compile(rf"(?<![\w./:-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
MODULE = re.compile(r"python -m ((?:dashboards|warehouse|benchmarks|flows|tasks|ato)[\w.]*)")


def paths(text: str) -> set[str]:
    """Paths below the repository's folders, without the punctuation of a sentence."""
    return {found.rstrip(".,:") for found in PATH.findall(text)} - NO_PATHS


def module_files(name: str) -> list[Path]:
    """Where a module may lie."""
    folder = ROOT.joinpath(*name.rstrip(".").split("."))
    return [folder.with_suffix(".py"), folder / "__main__.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_a_page_exists(page):
    missing = [path for path in paths(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_runs_exists(page):
    names = set(MODULE.findall(page.read_text(encoding="utf-8"))) - {"benchmarks.NAME"}
    assert not [name for name in names if not any(file.is_file() for file in module_files(name))]


def test_a_path_that_is_gone_would_be_found():
    assert paths("see `ato/gone.py`, docs/tables.md. Or `s3://ato/x` and `data/ato/y`") == {
        "ato/gone.py",
        "docs/tables.md",
    }
