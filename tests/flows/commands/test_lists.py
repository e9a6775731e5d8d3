"""``ato list`` and ``ato note``: what one command writes, the next one shows; a mistake is one line."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tests.warehouse.embedding_rows import write_embeddings
from tests.warehouse.small_warehouse import SAE
from warehouse.catalog.catalog import rows


@pytest.fixture
def ato(sound):
    """A function that runs a command of ``ato`` on a small warehouse of the test's own."""

    def run(*arguments: str, fails: bool = False) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert (done.exit_code != 0) == fails, done.output
        return str(done.exception) if fails else done.stdout

    return run


def test_a_list_is_made_shown_renamed_and_deleted(ato):
    assert "No lists yet" in ato("list")
    assert "2 of 2 added to war" in ato("list", "add", "war", "4/0", "ridge-2-4", "--for", "on war")
    assert "0 of 1 added to war; the others were on it" in ato("list", "add", "war", "4/0")
    (found,) = json.loads(ato("list", "--format", "json"))
    assert (found["list"], found["n_features"], found["n_operators"], found["description"]) == ("war", 1, 1, "on war")
    assert found["author"]
    shown = ato("list", "show", "war")
    assert f"{SAE}/0" in shown
    assert "ridge-2-4" in shown
    ato("list", "rename", "war", "peace")
    ato("list", "remove", "peace", "ridge-2-4")
    assert [row["feature_id"] for row in json.loads(ato("list", "show", "peace", "--format", "json"))] == [0]
    ato("list", "delete", "peace")
    assert "No lists yet" in ato("list")


def test_a_note_is_written_shown_and_removed(ato):
    assert "No notes on" in ato("note", "4/1")
    assert "fires on [battles]" in ato("note", "4/1", "fires on [battles]")
    (found,) = json.loads(ato("note", "4/1", "--format", "json"))
    assert found["text"] == "fires on [battles]"
    assert "No notes on" in ato("note", "4/1", "--remove", found["note"])


def test_an_export_is_imported_and_a_search_stays_on_a_list(ato, sound, tmp_path):
    write_embeddings(sound)
    ato("list", "add", "war", f"{SAE}/0", f"{SAE}/2")
    ato("list", "export", str(tmp_path / "lists.csv"))
    ato("list", "delete", "war")
    assert "1 list, 2 members, 0 notes added" in ato("list", "import", str(tmp_path / "lists.csv"))
    found = json.loads(ato("search", f"{SAE}/2", "--words", "--format", "json"))
    assert [(one["feature_id"], one["kind"]) for one in found] == [(2, "id")]
    assert json.loads(ato("search", "4/2", "--format", "json")) == found
    assert json.loads(ato("search", "4/2", "--list", "war", "--format", "json"))[0]["feature_id"] == 2
    assert json.loads(ato("search", "4/1", "--list", "war", "--format", "json")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "show", "war"), "no list 'war'"),
        (("list", "delete", "war"), "no list 'war'"),
        (("list", "add", "war", "9/0"), "layer 9 has no SAE"),
        (("list", "export", "x.txt"), "no format '.txt'"),
        (("search", "x", "--list", "war"), "no list 'war'"),
        (("run", "label", "--list", "war"), "there is no such list"),
        (("run", "collect", "--list", "war"), "flow collect takes no list"),
    ],
)
def test_a_mistake_is_one_line(ato, arguments, message):
    assert message in ato(*arguments, fails=True)
    assert not rows(None, "from lists")
