"""Functions of the stages take objects: a study, settings, a piece of work; not a train of parameters."""

import ast
from pathlib import Path

TASKS = Path(__file__).parents[2] / "tasks"
MOST = 5
MAKE_OBJECTS = {"Stage.__init__", "CollectingSource.__init__"}
"""What the others' parameters are made by: most of theirs are optional and named."""


def functions(tree: ast.Module) -> dict[str, int]:
    """Name -> number of parameters beside ``self`` and ``cls``."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{child.name}.")
            elif isinstance(child, ast.FunctionDef):
                names = [arg.arg for arg in (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)]
                found[prefix + child.name] = len([name for name in names if name not in ("self", "cls")])
                visit(child, f"{prefix}{child.name}.")

    visit(tree, "")
    return found


def test_no_function_of_a_stage_takes_a_train_of_parameters():
    found = {
        f"{path.relative_to(TASKS)}: {name}"
        for path in sorted(TASKS.rglob("*.py"))
        for name, n in functions(ast.parse(path.read_text(encoding="utf-8"))).items()
        if n > MOST and name not in MAKE_OBJECTS
    }
    assert not found
