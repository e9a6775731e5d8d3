"""The public names of the science: listed, importable, documented, typed, and the import itself costs nothing."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ato
import warehouse

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ato.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    documentation = getattr(ato, name).__doc__
    assert documentation
    assert len(documentation.split()) > 4


@pytest.mark.parametrize("package", [ato, warehouse])
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = package.nonesuch


def test_importing_the_packages_imports_nothing_heavy():
    heavy = {"torch", "transformers", "sklearn", "numpy", "duckdb", "pyarrow", "mlflow"}
    code = f"import ato, warehouse, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [ato, warehouse])
def test_type_checkers_and_the_interpreter_find_each_public_name_in_the_same_module(package):
    """Three lists must agree: the imports that type checkers read, the table of lazy imports, and ``__all__``."""
    (checked,) = (node for node in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body if _checked(node))
    for_checkers = {
        alias.asname or alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_checkers == {name: f"{package.__name__}.{module}" for name, module in package._HOME.items()}
    assert sorted(for_checkers) == sorted(package.__all__) == dir(package)


@pytest.mark.parametrize("package", [ato, warehouse])
def test_mypy_reads_the_modules_of_the_public_names_as_strictly_as_it_can(package):
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    (strict,) = (some for some in overrides if package.__name__ in some["module"])
    homes = {getattr(package, name).__module__ for name in package.__all__}
    assert homes | {package.__name__} <= set(strict["module"])


@pytest.mark.parametrize("package", [ato, warehouse])
def test_the_packages_say_that_they_are_typed(package):
    assert (Path(package.__file__).parent / "py.typed").is_file()


def _checked(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
