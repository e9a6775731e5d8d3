"""``ato publish``: what it writes and says, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner

from ato.errors import InputError
from flows.cli import app
from flows.commands.publish import publish_site


def test_the_site_of_all_collections_is_written_and_its_sizes_are_printed(study, tmp_path, capsys):
    done = CliRunner().invoke(app, ["publish", str(tmp_path / "site")])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith(str(tmp_path / "site"))
    said = done.stderr
    assert "libraries" in said
    assert "MB" in said
    assert "python -m http.server" in said
    site = json.loads((tmp_path / "site" / "site.json").read_text())
    assert study in site["collections"]
    assert site["with_text"] is True
    assert (tmp_path / "site" / "index.html").is_file()


def test_an_unknown_collection_is_named_and_nothing_is_written(study, tmp_path):
    with pytest.raises(InputError, match=f"no collection 'x'.*choose from .*{study}"):
        publish_site(tmp_path / "site", ["x"])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_warehouse_says_how_to_begin(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    with pytest.raises(InputError):
        publish_site(tmp_path / "site", [])
