"""What a user's statement may do: read tables and marts, within limits, and nothing else."""

import time
from pathlib import Path

import polars as pl
import pytest

from ato.errors import InputError
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import flat, run_select

ENDLESS = "select count(*) from range(10000000) a, range(10000000) b where hash(a.range + b.range) = 1"


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
def test_neither_files_nor_the_network_nor_settings_are_within_reach(read_store, db, sql):
    before = everything(read_store.root)
    with pytest.raises(InputError) as raised:
        run_select(
            db, sql.format(root=read_store.root, file=next(Path(read_store.root, "sae_training").rglob("*.parquet")))
        )
    assert "\n" not in str(raised.value)
    assert everything(read_store.root) == before


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


def test_a_statement_that_needs_too_much_memory_fails_and_leaves_nothing_on_the_disk(read_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    db = connect(read_store, memory="50MB")
    with pytest.raises(InputError, match="exceeds its memory limit"):
        run_select(db, "select range, repeat(range::varchar, 20) as t from range(5000000) order by t")
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_select(db, "select count(*) from sae_training").fetchall() == [(3,)]


def test_lists_and_maps_become_text_that_csv_can_hold(db):
    found = flat(run_select(db, """select [1, 2] as "a ""list", map {'k': 1} as m, {'a': null} as s, 7 as n"""))
    assert found.pl().write_csv() == '"a ""list",m,s,n\n"[1,2]","{""k"":1}","{""a"":null}",7\n'


WRITING = [
    "copy sae_training to '{root}/x.csv'",
    "with t as (copy sae_training to '{root}/x.csv') from t",
    "explain analyze copy sae_training to '{root}/x.csv'",
    "explain analyze with t as (copy sae_training to '{root}/x.csv') from t",
    "explain (analyze) copy sae_training to '{root}/x.csv'",
    "create table t as select 1",
    "create or replace view sae_training as select 1",
    "attach '{root}/x.db'",
    "set threads = 1",
    "pragma enable_profiling",
    "call enable_logging()",
    "install httpfs",
    "select 1; select 2",
    "drop view sae_training",
    "",
]


@pytest.mark.parametrize("sql", WRITING)
def test_statements_that_write_are_refused(read_store, db, sql):
    before = everything(read_store.root)
    with pytest.raises(InputError, match="SELECT") as raised:
        run_select(db, sql.format(root=read_store.root))
    assert "\n" not in str(raised.value)
    assert everything(read_store.root) == before
    assert run_select(db, "select count(*) from sae_training").fetchall() == [(3,)]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{outside}')",
        "from read_csv('{root}/../secret.txt')",
        "from '{outside}'",
        "from glob('{outside}')",
        "select getenv('HOME')",
    ],
)
def test_files_outside_the_warehouse_are_out_of_reach(read_store, db, tmp_path, sql):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with pytest.raises(InputError):
        run_select(db, sql.format(root=read_store.root, outside=secret))


@pytest.mark.parametrize(
    "sql",
    [
        "from sae_training",
        "describe sae_training",
        "summarize sae_training",
        "show tables",
        "explain from sae_training",
        "explain analyze select 1;",
        "pragma table_info('sae_training')",
        "with t as (select 1 as a) from t -- note",
        "values (1)",
        "pivot sae_training on step in (0, 1) using sum(lr)",
    ],
)
def test_reading_statements_run(db, sql):
    assert run_select(db, sql).fetchall()


def test_order_of_a_select_is_kept(db):
    found = run_select(db, "select step from sae_training order by step desc").fetchall()
    assert found == [(2,), (1,), (0,)]
