"""What a statement of a stranger may do: read tables and marts, within limits, and be told what was meant."""

import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ato.errors import InputError
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import flat, run_select
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

ENDLESS = "select count(*) from range(10000000) a, range(10000000) b where hash(a.range + b.range) = 1"


ROWS = {
    "architecture": "topk",
    "tokens": 64,
    "mse": 0.5,
    "fvu": 0.25,
    "l0": 8.0,
    "dead_share": 0.0,
    "lr": 1e-3,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A warehouse with one table of three rows, to which nobody writes."""
    store = Warehouse(tmp_path_factory.mktemp("limits") / "warehouse")
    rows = [ROWS | {"step": step} for step in range(3)]
    file = store.write_rows("sae_training", rows, "saes-1", collection="c", sae="s")
    started = datetime(2026, 1, 1, tzinfo=UTC)
    commit(store, "saes", "saes-1", collection="c", settings={}, files=[file], started_at=started, seconds=1.0)
    return store


@pytest.fixture(scope="module")
def db(store):
    """A connection that all share, as the visitors of a page do."""
    return connect(store)


def everything(root):
    return {path: path.stat().st_mtime_ns for path in Path(root).rglob("*")}


@pytest.mark.parametrize(
    "sql",
    [
        "from read_csv('/etc/passwd')",
        "from read_text('/etc/passwd')",
        "from read_blob('{root}/warehouse.json')",
        "from '/etc/passwd.csv'",
        "from 'http://127.0.0.1:9/x.parquet'",
        "from read_parquet('s3://bucket/x')",
        "from '{root}/warehouse.json'",
        "from read_text('{root}/warehouse.json')",
        "from parquet_schema('{file}')",
        "from '{file}'",
        "from glob('{root}/**')",
        "from sniff_csv('{root}/warehouse.json')",
        "summarize '{file}'",
        "describe '{file}'",
        "explain from '{file}'",
        "explain analyze from read_parquet('{file}')",
        "select (select count(*) from READ_PARQUET('{file}'))",
        "with t as (from '{file}') select 1 from t",
        "from query('select 1')",
        "from query_table('{file}')",
        "from json_execute_serialized_sql('{{}}')",
        "from duckdb_secrets()",
        "from enable_logging()",
        "from truncate_duckdb_logs()",
        "from checkpoint()",
        "copy sae_training to '{root}/x.csv'",
        "attach '{root}/x.db'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '1TB'",
        "set enable_external_access = true",
        "pragma temp_directory = '{root}'",
        "reset threads",
        "export database '{root}/x'",
        "import database '{root}'",
        "use memory",
        "vacuum",
    ],
)
def test_neither_files_nor_the_network_nor_settings_are_within_reach(store, db, sql):
    before = everything(store.root)
    with pytest.raises(InputError) as raised:
        run_select(db, sql.format(root=store.root, file=next(Path(store.root, "sae_training").rglob("*.parquet"))))
    assert "\n" not in str(raised.value)
    assert everything(store.root) == before


@pytest.mark.parametrize(
    "sql",
    [
        "select * from range(3)",
        "select unnest([1, 2])",
        "from histogram(sae_training, step)",
        "from duckdb_columns() limit 1",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) from t",
        "unpivot sae_training on fvu, l0",
        "from sae_training a join main.sae_training b using (step)",
        "from memory.main.sae_training",
        "select 'a/b.csv'",
        "from sae_training where sae <> '/etc/passwd'",
    ],
)
def test_reading_tables_is_not_held_for_reading_files(db, sql):
    assert run_select(db, sql).fetchall()


def test_variables_of_the_program_are_no_tables(db):
    rows = pl.DataFrame({"a": [1]})
    with pytest.raises(InputError, match='no table "rows"'):
        run_select(db, "from rows")
    assert rows.height == 1


def test_an_endless_statement_is_stopped_and_the_connection_goes_on(db):
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^stopped after 0\.2 s: narrow the query"):
        run_select(db, ENDLESS, seconds=0.2)
    assert time.monotonic() - started < 60
    assert run_select(db, "select count(*) from sae_training", seconds=60).fetchall() == [(3,)]


def test_rows_beyond_the_limit_are_not_computed(db):
    assert run_select(db, "from range(1000000000000)", max_rows=5).fetchall() == [(i,) for i in range(5)]
    assert run_select(db, "from sae_training", max_rows=5).pl().height == 3
    for sql in ("describe sae_training", "explain select 1", "show tables", "summarize sae_training"):
        assert run_select(db, sql, max_rows=1).pl().height == 1


def test_a_statement_that_needs_too_much_memory_fails_and_leaves_nothing_on_the_disk(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    db = connect(store, memory="50MB")
    with pytest.raises(InputError, match="exceeds its memory limit"):
        run_select(db, "select range, repeat(range::varchar, 20) as t from range(5000000) order by t")
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_select(db, "select count(*) from sae_training").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select stepp from sae_training", 'no column "stepp": did you mean "step"?'),
        ("select t.stepp from sae_training t", 'no column "stepp": did you mean "step"?'),
        (
            "select 1\nfrom sae_training\nwhere dead_shar > 0",
            'no column "dead_shar" (line 3): did you mean "dead_share"?',
        ),
        (
            "with t as (select lr as speed from sae_training) select sped from t",
            'no column "sped": did you mean "speed"?',
        ),
        (
            'select step from sae_training where architecture = "topk"',
            "no column \"topk\": if it is text, write 'topk'",
        ),
        (
            "select share_transported from sae_training",
            'no column "share_transported": it is a column of transport_map',
        ),
        ("from sae_trainin", 'no table "sae_trainin": did you mean "sae_training"?'),
        ("from transportmap", 'no table "transportmap": did you mean "transport_map"?'),
        ("from xyzzy", 'no table "xyzzy": `show tables` lists all'),
        (
            "select step,\nfrm sae_training",
            'no column "step" (line 1): no table in the statement has it: add FROM, or the missing table',
        ),
        ("select step\nfrom sae_training\nwhere where", 'syntax error at or near "where" (line 3)'),
        ("selct 1", 'syntax error at or near "selct"'),
    ],
)
def test_a_wrong_statement_is_answered_with_the_nearest_name_and_its_line(db, sql, said):
    with pytest.raises(InputError) as raised:
        run_select(db, sql)
    assert str(raised.value).split(" (also near")[0] == said


def test_lists_and_maps_become_text_that_csv_can_hold(db):
    found = flat(run_select(db, """select [1, 2] as "a ""list", map {'k': 1} as m, {'a': null} as s, 7 as n"""))
    assert found.pl().write_csv() == '"a ""list",m,s,n\n"[1,2]","{""k"":1}","{""a"":null}",7\n'
