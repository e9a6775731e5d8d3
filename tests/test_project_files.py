"""Files that tools read: version and study in the citation, the version in the changelog, hooks that fetch nothing."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.test_recipes import RECIPES

ROOT = Path(__file__).parents[1]
ROOMS = "ato|warehouse|tasks|flows|dashboards|benchmarks|tests|tools|docs|examples"
NAMED = re.compile(rf"(?<![\w/.-])(?:{ROOMS})/[\w./-]+\.(?:py|sql|md|yaml|toml|ipynb|png|svg)\b")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_citation_names_this_version_and_the_study():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    (study,) = citation["references"]
    assert study["title"] == "Activation Transport Operators"
    assert [author["family-names"] for author in study["authors"]] == ["Szablewski", "Masiak"]


def test_the_changelog_has_this_version_under_what_is_unreleased():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert names[0] == ("Unreleased", "")
    assert names[1][0] == VERSION
    assert all(date for _, date in names[1:])


def test_hooks_run_what_make_test_runs_and_fetch_nothing():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system"
        program, verb = hook["entry"].split()[:2]
        assert f"$(BIN)/{Path(program).name} {verb}" in makefile


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_page_names_no_file_that_does_not_exist(page):
    """Links, and names of files below the rooms; of the changelog, only its links."""
    text = page.read_text(encoding="utf-8")
    links = {page.parent / link for link in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", text)}
    written = {ROOT / name for recipe in RECIPES.values() for _, name, _ in recipe.files}
    named = {ROOT / name for name in NAMED.findall(text)} if page.name != "CHANGELOG.md" else set()
    assert [path for path in (links | named) - written if not path.exists()] == []
