"""The notebooks of examples/: what they show was made by the cells that stand there, and they run again."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from warehouse import connect, run_select

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
OF_ONE_MACHINE = re.compile(r"(?<![\w.:/])/(home|root|tmp|usr|opt|work|var|Users)/|[A-Z]:\\\\")
SMALLER = {
    "map_of_one_model": {"n_tokens=20_000": "n_tokens=4_000", "[2, 6, 10, 14, 18, 22, 26]": "[0, 1, 3]"},
    "life_of_a_feature": {
        "n_tokens=200_000": "n_tokens=10_000",
        "d_sae=1024": "d_sae=256",
        "n_tokens=20_000": "n_tokens=10_000",
        "seq_len=128": "seq_len=64",
        "12, [0, 2, 4, 6, 8, 10]": "3, [0, 1, 2]",
    },
}
"""What is run in small by the tests, so that only the stored outputs are of the notebook's own size: old text, new."""
WARNED = re.compile(r"warning|deprecated|traceback", re.IGNORECASE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == set(SMALLER)


def test_a_notebook_was_run_from_top_to_bottom(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len([1 for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]) == 1
    check_outputs(notebook)


def test_a_notebook_is_small_and_tells_nothing_of_the_machine_it_ran_on(notebook):
    text = nbformat.writes(notebook)
    assert len(text) < 300_000
    assert not OF_ONE_MACHINE.search(text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


def test_the_statements_that_a_notebook_ends_with_run_on_any_warehouse(notebook, tmp_path):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    statements = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert statements
    for statement in statements:
        assert run_select(connect(tmp_path / "warehouse", must_exist=False), statement) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_a_notebook_runs_and_warns_of_nothing(name, tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for old, new in SMALLER[name].items():
        (cell,) = (cell for cell in cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    check_outputs(notebook)


def check_outputs(notebook):
    """No errors, nothing on stderr, no warnings."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    for output in outputs:
        assert output.get("name") != "stderr", output.text
        said = output.get("text") or output.data["text/plain"]
        assert not WARNED.search(said), said
