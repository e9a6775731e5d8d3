"""The database of the registry: beside the warehouse, and created whole or not at all."""

import os
import sqlite3

import pytest

from ato.errors import SettingsError
from warehouse.registry.database import check_schema, database_uri, exists, open_client, tracking_uri
from warehouse.registry.registry import Registry


def test_a_database_whose_creation_was_cut_off_is_created_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Registry(tmp_path / "warehouse")
    assert list(tmp_path.iterdir()) == []


def test_whoever_creates_the_database_second_keeps_the_first_one(tmp_path, monkeypatch):
    link = os.link

    def someone_was_faster(staging, path):
        link(staging, path)
        with sqlite3.connect(path) as database:
            database.execute("create table first (x)")
        link(staging, path)

    monkeypatch.setattr(os, "link", someone_was_faster)
    Registry(tmp_path / "warehouse")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from sqlite_master where name = 'first'").fetchone() == (1,)


def test_a_second_database_of_a_process_is_as_empty_as_the_first_and_shares_nothing_with_it(tmp_path):
    first = tmp_path / "first" / "mlflow.db"
    open_client(database_uri(first)).create_experiment("only here")
    second = tmp_path / "second" / "mlflow.db"
    names = [found.name for found in open_client(database_uri(second)).search_experiments()]
    assert names == ["Default"]
    check_schema(second)
    for path in (first, second):
        with sqlite3.connect(path) as database:
            assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_the_address_of_the_database_is_beside_the_warehouse_or_as_the_environment_says(tmp_path, monkeypatch):
    assert tracking_uri(tmp_path / "warehouse") == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_URI"):
        tracking_uri("s3://bucket/prefix")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri("s3://bucket/prefix") == "http://127.0.0.1:5000"


def test_a_registry_exists_once_something_opened_it_and_a_server_is_assumed_to(tmp_path, monkeypatch):
    root = tmp_path / "warehouse"
    assert not exists(root)
    Registry(root)
    assert exists(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert exists(tmp_path / "another" / "warehouse")
