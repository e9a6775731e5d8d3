"""The catalog: views over complete stages only, described, and honest about damage."""

import os
from importlib import resources
from pathlib import Path

import duckdb
import pytest

from ato.errors import DamagedFileError, InputError
from warehouse.catalog.catalog import connect, duckdb_type, rows
from warehouse.catalog.marts import create_mart_views, mart_texts
from warehouse.catalog.published import publish
from warehouse.catalog.query import run_select
from warehouse.storage.manifests import FAILED, manifest_path
from warehouse.tables import TABLES


@pytest.fixture
def written(store, training_rows, commit_files):
    """A warehouse with three rows of ``sae_training``; its one file."""
    file = store.write_rows("sae_training", training_rows(), "saes-1", collection="c", sae="s")
    commit_files(store, [file])
    return file


def everything(folder):
    return {p: p.stat().st_mtime_ns for p in Path(folder).rglob("*")}


def test_empty_warehouse_has_every_table_with_its_declared_columns(store):
    db = connect(store.create())
    for table in TABLES.values():
        relation = db.sql(f"from {table.name}")
        expected = [(c.name, "FLOAT[]" if c.type is None else duckdb_type(c.type)) for c in table.columns]
        found = list(zip(relation.columns, map(str, relation.types)))
        assert [(n, t.replace('"', "")) for n, t in found] == [(n, t.replace('"', "")) for n, t in expected]
        assert relation.fetchall() == []


def test_stored_columns_have_the_declared_types_even_where_values_look_like_others(store, training_rows, commit_files):
    commit_files(store, [store.write_rows("sae_training", training_rows(), "k", collection="12", sae="2026-01-02")])
    relation = connect(store).sql("from sae_training order by step")
    assert [str(t) for t in relation.types] == [duckdb_type(c.type) for c in TABLES["sae_training"].columns]
    assert relation.fetchall()[1] == ("12", "2026-01-02", "topk", 1, 64, 0.75, 0.25, 8.0, 0.0, 0.001, 0, None)


def test_every_table_and_column_is_described(store):
    db = connect(store.create())
    comments = db.sql(
        "select table_name, column_name, comment from duckdb_columns() where comment is not null"
    ).fetchall()
    declared = {(t.name, c.name) for t in TABLES.values() for c in t.columns}
    assert {(table, column) for table, column, _ in comments} == declared
    assert ("activations", "position", "position in the sequence, from 0 [tokens]") in comments
    listed = db.sql("select table_name, column_name from catalog where kind = 'table'").fetchall()
    assert set(listed) == declared
    marts = {f.name.removesuffix(".sql") for f in resources.files("warehouse").joinpath("sql").iterdir()}
    assert marts == {name for (name,) in db.sql("select table_name from catalog where kind = 'mart'").fetchall()}


def test_only_files_of_complete_passed_stages_are_seen(store, written, training_rows, commit_files):
    store.write_rows("sae_training", training_rows(), "orphan", collection="c", sae="s")
    failed = store.write_rows("sae_training", training_rows(), "failed", collection="c", sae="s")
    result = {
        "stage": "saes",
        "key": "saes-2",
        "table_name": "sae_training",
        "expectation": "unique",
        "column_name": None,
        "success": False,
        "n_checked": 3,
        "n_unexpected": 1,
        "examples": None,
    }
    results = store.write_rows("quality_results", [result], "saes-2", collection="c")
    commit_files(store, [failed, results], key="saes-2", quality=FAILED)
    Path(store.root, written.path).with_name(".staging-1-x-part-half.parquet").write_bytes(b"PAR1")
    db = connect(store)
    assert db.sql("select count(*) from sae_training").fetchall() == [(3,)]
    assert db.sql("select success from quality_results").fetchall() == [(False,)]
    assert db.sql("select key, quality from stage_runs order by key").fetchall() == [
        ("saes-1", "passed"),
        ("saes-2", "failed"),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "from {}",
        "select count(*) from {}",
        "select max(lr) from {}",
        "from {} where collection = 'c'",
        "from {} where lr > 1",
    ],
)
def test_short_file_is_named_with_its_cure_and_other_tables_still_answer(store, written, query):
    os.truncate(Path(store.root, written.path), 100)
    db = connect(store)
    with pytest.raises(DamagedFileError) as raised:
        run_select(db, query.format("sae_training"))
    expected = f"damaged file {store.root}/{written.path} (100 bytes found, {written.bytes} expected): "
    assert (
        str(raised.value)
        == expected + "run the `ato run` that made it again, with the same settings: it rebuilds this stage"
    )
    assert run_select(db, "select count(*) from stage_runs").fetchall() == [(1,)]
    assert run_select(db, "describe sae_training").fetchall()[0][:2] == ("collection", "VARCHAR")


def test_missing_file_is_named_also_through_plain_duckdb_and_through_a_mart(store, written, tmp_path):
    Path(store.root, written.path).unlink()
    db = connect(store)
    with pytest.raises(
        duckdb.Error, match=r"part-saes-1\.parquet \(missing, \d+ bytes expected\): run the `ato run` that made it"
    ):
        db.sql("from sae_training").fetchall()
    (tmp_path / "steps.sql").write_text("select max(step) as steps from sae_training")
    create_mart_views(db, mart_texts(tmp_path))
    with pytest.raises(DamagedFileError, match="part-saes-1"):
        run_select(db, "from steps")
    with pytest.raises(DamagedFileError, match="part-saes-1"):
        rows(store, "from sae_training")


def test_file_damaged_after_connecting_is_a_damaged_file(store, written):
    db = connect(store)
    Path(store.root, written.path).write_bytes(b"\0" * written.bytes)
    with pytest.raises(DamagedFileError, match="part-saes-1"):
        run_select(db, "from sae_training")


def test_unreadable_manifest_makes_every_table_raise_since_nobody_knows_what_it_held(store, written):
    os.truncate(Path(store.root, manifest_path("saes", "saes-1")), 30)
    for table in ("sae_training", "operators", "stage_runs"):
        with pytest.raises(DamagedFileError, match="manifest cannot be read"):
            run_select(connect(store), f"from {table}")


def test_settings_of_a_read_only_connection_are_locked(store):
    with pytest.raises(duckdb.Error, match="locked"):
        connect(store.create()).execute("set enable_external_access = true")
    connect(store, read_only=False).execute("set threads = 1")


def test_rows_come_as_dictionaries(store, written):
    found = rows(store, "select step, files from sae_training, stage_runs where step = ?", [2])
    assert found[0]["step"] == 2
    assert found[0]["files"][0]["path"] == written.path


def test_published_catalog_is_replaced_under_its_readers(store, written, training_rows, commit_files):
    query = "from sae_training order by step"
    path = publish(store)
    assert path == f"{store.root}/warehouse.duckdb"
    with duckdb.connect(path, read_only=True) as reader:
        assert reader.sql(query).fetchall() == connect(store).sql(query).fetchall()
        more = store.write_rows("sae_training", training_rows(n=9), "saes-2", collection="c", sae="t")
        commit_files(store, [more], key="saes-2")
        publish(store)
        assert len(reader.sql(query).fetchall()) == 3
        assert reader.sql("select count(*) from catalog").fetchall()[0][0] > 100
    probe = duckdb.connect()
    probe.execute(f"attach '{path}' as published (read_only)")
    assert probe.sql("select count(*) from published.sae_training").fetchall() == [(12,)]
    assert not [p for p in Path(store.root).rglob(".staging*")]


def test_width_of_residuals_is_in_the_type_where_all_collections_share_it(store, make_block, store_collection):
    store_collection(store, [make_block([0, 1], [2], d=8)], "c")
    total = "select sum(array_inner_product(residual, residual)) from activations"
    assert str(connect(store).sql("select residual from activations").types[0]) == "FLOAT[8]"
    squares = (make_block([0, 1], [2], d=8).residuals[2].double() ** 2).sum().item()
    assert connect(store).sql(total).fetchall()[0][0] == pytest.approx(squares, rel=1e-6)
    store_collection(store, [make_block([0, 1], [2], d=6)], "d")
    relation = connect(store).sql("select len(residual), residual from activations order by all")
    assert str(relation.types[1]) == "FLOAT[]"
    assert {row[0] for row in relation.fetchall()} == {6, 8}


def test_marts_may_read_marts_and_wrong_ones_are_named(store, tmp_path):
    db = connect(store.create())
    (tmp_path / "a.sql").write_text("-- the second\nselect x + 1 as y from b;\n")
    (tmp_path / "b.sql").write_text("-- the first\nselect 1 as x\n")
    create_mart_views(db, mart_texts(tmp_path))
    assert db.sql("from a").fetchall() == [(2,)]
    assert db.sql("select comment from duckdb_views() where view_name = 'a'").fetchall() == [("the second",)]
    (tmp_path / "a.sql").unlink()
    (tmp_path / "b.sql").unlink()
    (tmp_path / "wrong.sql").write_text("select nothing from sae_training")
    with pytest.raises(InputError, match=r"mart does not fit the tables: .*nothing.*wrong\.sql"):
        create_mart_views(db, mart_texts(tmp_path))
    (tmp_path / "operators.sql").write_text("select 1")
    with pytest.raises(InputError, match=r"name of a table \(operators\.sql\)"):
        create_mart_views(db, mart_texts(tmp_path))
