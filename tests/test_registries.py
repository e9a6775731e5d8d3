"""No list of operator methods is written a second time: who needs one derives it from the registry."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ato.operators.methods import METHODS

ROOT = Path(__file__).parents[1]
REGISTRY = ROOT / "ato" / "operators" / "methods.py"
ROOMS = ("ato", "tasks", "flows", "warehouse", "dashboards", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path != REGISTRY)
SQL_LIST = re.compile(r"\(\s*'[^()]*'\s*\)")
ENOUGH = 3


def copies(source: str) -> Iterator[int]:
    """Lines of the literals, in Python or in SQL within it, that name several methods."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            names = [element.value for element in node.elts if isinstance(element, ast.Constant)]
        elif isinstance(node, ast.Dict):
            names = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = in_sql(node.value)
        else:
            continue
        if len(set(names) & set(METHODS)) >= ENOUGH:
            yield node.lineno


def in_sql(text: str) -> list[str]:
    """What the lists of SQL literals in a text name."""
    return [name for found in SQL_LIST.findall(text) for name in re.findall(r"'([^']*)'", found)]


@pytest.mark.parametrize(
    "source",
    [
        'METHODS = ("ridge", "linear", "rrr")',
        'COLOURS = {"ridge": 1, "mean": 2, "identity+bias": 3}',
        'Method = Literal["ridge", "svd", "lasso"]',
        "sql = \"where method not in ('identity', 'permuted', 'mean')\"",
    ],
)
def test_a_copied_list_is_found(source):
    assert list(copies(source)) == [1]


def test_the_registry_is_the_only_list_of_methods():
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in SOURCES for line in copies(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"derive these from ato.operators.methods: {found}"


def test_no_mart_lists_methods():
    marts = sorted((ROOT / "warehouse" / "sql").glob("*.sql"))
    assert marts
    assert not [p.name for p in marts if len(set(in_sql(p.read_text(encoding="utf-8"))) & set(METHODS)) >= ENOUGH]
