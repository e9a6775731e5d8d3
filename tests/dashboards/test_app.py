"""Every page opens: on an empty warehouse, on a bare collection, and on a whole study; errors are one line."""

from shutil import copytree
from types import SimpleNamespace

import pytest

from dashboards.ui.navigation import PAGES
from tests.dashboards.opened_pages import open_page, panels, read_page
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

OF_A_COLLECTION = [name for name in PAGES if name not in ("sql_bench", "reference")]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Of an empty warehouse, and of one with a collection that nothing was made from; nobody writes to them."""
    folder = tmp_path_factory.mktemp("roots")
    bare = Warehouse(folder / "bare")
    commit_stage(bare, "collect", write(bare, collect_rows()))
    return SimpleNamespace(empty=str(folder / "empty"), bare=bare.root)


@pytest.mark.parametrize("name", OF_A_COLLECTION)
def test_an_empty_warehouse_gives_each_page_a_word_on_how_to_fill_it(roots, name, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", roots.empty)
    app = read_page(name)
    assert "make run" in app.info[0].value
    assert not panels(app)
    assert not app.error


@pytest.mark.parametrize("name", OF_A_COLLECTION)
def test_a_collection_that_nothing_was_made_from_gives_each_page_something_to_say(roots, name, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", roots.bare)
    app = read_page(name)
    assert not app.error
    assert app.info or panels(app)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens_on_the_whole_study_without_an_error(study, name):
    app = read_page(name)
    assert not app.error
    assert app.title[0].value == PAGES[name][0]


def test_a_damaged_file_is_one_line_and_hides_only_what_needs_it(tmp_path, study_root, monkeypatch):
    root = copytree(study_root, tmp_path / "damaged")
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    file = min((root / "sae_training").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-8])
    app = open_page("saes")
    (error,) = {found.value for found in app.error}
    assert "\n" not in error
    assert file.name in error
    assert "run the `ato run` that made it again" in error
    assert len(app.error) < len(app.subheader)
