"""The recipes of CONTRIBUTING.md: each is followed to the letter on a copy of the repository, and its files are counted."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked_programs import Programs

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = (
    *("ato", "warehouse", "tasks", "flows", "dashboards", "benchmarks", "tests", "docs", "tools"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "mkdocs.yml", "prefect.yaml", "pyproject.toml"),
)
RECIPE = re.compile(r"^## Recipe: (.+)\n((?:(?!^## ).*\n)*)", re.MULTILINE)
FILE = re.compile(r'^```(\w+) title="(.+)"\n((?:(?!^```$).*\n)*)```$', re.MULTILINE)
COMMANDS = re.compile(r"^```sh\n((?:(?!^```$).*\n)*)```$", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """A section of CONTRIBUTING.md: what it writes, and the commands that end it."""

    files: list[tuple[str, str, str]]
    """(language, path, text); of language ``diff`` the lines added to a file, between lines that it has."""
    commands: list[str]


RECIPES = {
    name: Recipe(FILE.findall(text), "".join(COMMANDS.findall(text)).splitlines())
    for name, text in RECIPE.findall(CONTRIBUTING)
}


def follow(programs: Programs, recipe: Recipe, root: Path) -> None:
    """Write the files of a recipe, and run its commands."""
    for language, name, text in recipe.files:
        path = root / name
        if language == "diff":
            text = patched(path.read_text(encoding="utf-8"), text)
        else:
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for command in recipe.commands:
        run(programs, command, root)


def patched(text: str, diff: str) -> str:
    """A text with the added lines of a diff, whose other lines stand in it once."""
    lines = diff.splitlines(keepends=True)
    old, new = ("".join(line[1:] or "\n" for line in lines if line[0] in kept) for kept in (" -\n", " +\n"))
    assert text.count(old) == 1, f"these lines do not stand there once:\n{old}"
    return text.replace(old, new)


def run(programs: Programs, command: str, root: Path) -> None:
    """``python -m module``, or ``ato``; what it prints may go to a file."""
    command, _, page = command.partition(" > ")
    program, *arguments = shlex.split(command)
    module, *arguments = ["flows.cli", *arguments] if program == "ato" else arguments[1:]
    done = programs.run(module, *arguments, folder=root.parent, root=root, PYTEST_ADDOPTS="-p no:cacheprovider")
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    if page:
        (root / page).write_text(done.stdout, encoding="utf-8")


def copy_of_the_repository(root: Path) -> Path:
    root.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            # With what Python compiled of it, which holds for files of the same time; not what it is writing just now.
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy(ROOT / name, root / name)
    return root


def contents(root: Path) -> dict[str, bytes]:
    """The files of a copy; what tests leave behind in hidden folders, and what Python compiled, is none of them."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {str(path): (root / path).read_bytes() for path in files if path.parts[0] in COPIED}


def promised() -> dict[str, tuple[int, int, int]]:
    """Files, tests among them, and printed pages among them, as the table of the recipes has it."""
    rows = re.findall(r"^\| (an? .+?) \| (\d+) \| (\d+) \| (\d+) \|$", CONTRIBUTING, re.MULTILINE)
    return {name: (int(files), int(tests), int(printed)) for name, files, tests, printed in rows}


def test_every_recipe_is_counted():
    assert list(promised()) == list(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_and_touches_the_files_that_it_says(programs, name, tmp_path):
    root = copy_of_the_repository(tmp_path / "copy")
    before = contents(root)
    follow(programs, RECIPES[name], root)
    after = contents(root)
    assert before.keys() <= after.keys()
    touched = {path for path in after if after[path] != before.get(path)}
    written = {path for _, path, _ in RECIPES[name].files}
    tests = {path for path in touched if path.startswith("tests/")}
    assert written <= touched
    assert (len(touched), len(tests), len(touched - written)) == promised()[name], sorted(touched)
    for arguments in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=root, check=True)
