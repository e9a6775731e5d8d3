"""The flow ``embed`` on planted labels: its vectors are in the table that `ato show embed` prints."""

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.embed import embed
from flows.settings import load_settings
from tests.warehouse.label_rows import FEATURES, write_labelling
from tests.warehouse.small_warehouse import COLLECTION, SAE, build
from warehouse.catalog.catalog import rows

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_the_flow_embeds_the_texts_that_are_there_and_shows_how_many(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    write_labelling(build(tmp_path))
    embed(load_settings("demo"), COLLECTION)
    found = rows(None, "select kind, count(distinct feature_id) as n from feature_embeddings group by kind")
    assert {one["kind"]: one["n"] for one in found}["tokens"] == len(FEATURES)
    shown = CliRunner().invoke(app, ["show", "embed"])
    assert shown.exit_code == 0
    assert SAE[:8] in shown.output
