"""The warehouse on an S3-compatible store: the whole tiny study, every command, locks and removal, on a local server."""

import io
import logging
import os
from pathlib import Path

import pytest

from tests.flows.forked_stages import SMALL, run_stages
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.query import run_select
from warehouse.maintenance import retention
from warehouse.quality import checks
from warehouse.registry.registry import Registry
from warehouse.storage.locks import held, holders
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket():
    """An empty bucket on a server of this process, which all S3 clients take for Amazon's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:{1}".format(*server.get_host_and_port()))
        for name, value in (("ACCESS_KEY_ID", "any"), ("SECRET_ACCESS_KEY", "any"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(scope="module")
def study(bucket, tmp_path_factory):
    """The tiny study in the bucket: its settings and the collection's key."""
    folder = tmp_path_factory.mktemp("study")
    settings = tiny_settings(folder, **SMALL, collect={"n_tokens": 4_000, "n_folds": 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # whatever lands beside the store would land here
        patch.setenv("ATO_WAREHOUSE", f"{bucket}/prefix")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield settings, run_stages(settings), folder


def test_tables_in_a_bucket_are_those_of_a_local_folder(study, monkeypatch, tmp_path):
    settings, collection, _ = study
    found = {}
    for name, table in TABLES.items():
        if name not in ("stage_runs", "quality_results"):
            steady = [column.name for column in table.columns if not column.volatile]
            found[name] = f"select {', '.join(steady)} from {name} order by {', '.join(table.key)}"
    remote = connect()
    answers = {name: remote.sql(sql).to_arrow_table().to_pylist() for name, sql in found.items()}
    assert len(answers["operators"]) == 4
    assert {row["registry_uri"] is None for row in answers["operators"]} == {True, False}
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "data" / "warehouse"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run_stages(settings) == collection
    local = connect()
    assert {name: local.sql(sql).to_arrow_table().to_pylist() for name, sql in found.items()} == answers


def test_nothing_but_the_registrys_database_lies_beside_the_store(study):
    _, _, folder = study
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"model", "corpus.jsonl", "mlflow.db"}
    assert not [path for path in Warehouse().storage.entries() if ".staging" in path]


def test_a_second_run_finds_everything_complete(study):
    settings, collection, _ = study
    before = Warehouse().storage.entries()
    assert run_stages(settings) == collection
    after = Warehouse().storage.entries()
    after.pop("warehouse.duckdb"), before.pop("warehouse.duckdb")
    assert after == before


def test_questions_are_answered_and_every_file_is_sound(study, capsys):
    from flows.commands.check import check_warehouse
    from flows.commands.show import show_stage, show_summary
    from flows.commands.sql import ask
    from flows.commands.tables import describe_tables

    _, collection, _ = study
    connection = connect()
    assert run_select(connection, "select count(*) from activations").fetchall()[0][0] > 1000
    ask("select collection, n_tokens from collections", "csv")
    assert collection in capsys.readouterr().out
    describe_tables()
    show_summary(collection)
    show_stage("operators", collection)
    assert "damaged" not in capsys.readouterr().out
    assert check_warehouse(), capsys.readouterr().out


def test_the_report_is_copied_out_of_the_bucket(study, tmp_path):
    from flows.commands.report import make_report

    _, collection, _ = study
    page = tmp_path / "pages" / "report.html"
    assert make_report(collection, page) == str(page)
    assert page.read_text().startswith("<!doctype html>")


def test_operators_of_the_registry_lie_in_the_bucket_and_load_from_there(study):
    import numpy as np

    address = rows(None, "select registry_uri from operators where registry_uri is not null limit 1")[0]["registry_uri"]
    assert any(path.startswith("artifacts/mlflow/") for path in Warehouse().storage.entries())
    assert Registry(Warehouse().root).load(address).predict(np.ones((2, 16))).shape == (2, 16)


def test_a_lock_has_one_holder_and_its_creation_is_decided_by_the_store(bucket):
    one, other = Warehouse(f"{bucket}/locking"), Warehouse(f"{bucket}/locking")
    with held(one, "collect-c"):
        assert holders(other)["collect-c"].pid == os.getpid()
        assert not other.storage.create("locks/collect-c/000001.json", b"{}")
    assert holders(other) == {}
    assert other.storage.create("locks/collect-c/000001.json", b"{}")


def test_what_another_client_writes_is_seen_at_once(bucket):
    one, other = Warehouse(f"{bucket}/fresh"), Warehouse(f"{bucket}/fresh")
    assert one.storage.names("table") == []
    other.storage.put("table/a", b"a")
    assert one.storage.names("table") == ["table/a"]
    assert one.storage.sizes(["table/a"]) == {"table/a": 1}


def test_a_large_object_appears_whole(bucket):
    store = Warehouse(f"{bucket}/large")
    size, digest = store.storage.publish("t/large", lambda path: path.write_bytes(bytes(60 << 20)))
    assert store.storage.sizes(["t/large"]) == {"t/large": size}
    with store.storage.open("t/large") as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == bytes(3)
    assert len(digest) == 64


def test_a_collection_is_removed_from_the_bucket(study):  # the last test: it takes the study away
    _, collection, folder = study
    warehouse = Warehouse()
    idle = retention.plan(warehouse)
    assert idle.manifests + idle.files == []
    plan = retention.plan(warehouse, [collection])
    assert len(plan.versions) == 2
    retention.carry_out(warehouse, plan)
    assert manifests(warehouse) == []
    assert set(warehouse.storage.entries()) == {"warehouse.json", "warehouse.duckdb"}
    assert not checks.failures(checks.check_all(warehouse))
    assert Path(folder, "mlflow.db").exists()
