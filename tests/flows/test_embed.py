"""The flow ``embed`` on planted labels: its vectors are in the table that `ato show embed` prints."""

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.embed import embed
from flows.settings import load_settings
from tests.flows.test_fault_injection import steady_rows
from tests.warehouse.label_rows import FEATURES, write_labelling
from tests.warehouse.neuron_rows import NEURONS, write_neurons
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


@pytest.mark.slow
def test_two_dask_workers_write_the_vectors_of_one_process(workers, tmp_path, monkeypatch):
    found = {}
    for name in ("alone", "workers"):
        root = tmp_path / name
        monkeypatch.setenv("ATO_WAREHOUSE", str(root))
        warehouse, settings = build(root), load_settings("demo")
        write_labelling(warehouse)
        write_neurons(warehouse)
        if name == "workers":
            workers.use(root)
            settings = workers.do(settings)
        embed(settings, COLLECTION)
        found[name] = {table: steady_rows(warehouse, table) for table in ("feature_embeddings", "embedding_nulls")}
    assert {row["sae"] for row in found["alone"]["feature_embeddings"]} >= {SAE, NEURONS}
    assert found["workers"] == found["alone"]
