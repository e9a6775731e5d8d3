"""Statements of a visitor run in a process of their own, and no statement takes more than its limits."""

import os
import time

import duckdb
import psutil
import pyarrow as pa
import pytest

from ato.errors import DamagedFileError, InputError
from tests.warehouse.small_warehouse import build
from warehouse.catalog.query import run_select
from warehouse.catalog.statement_process import _run
from warehouse.catalog.statement_worker import StatementWorker

MEMORY = 400_000_000
LIMITS = {"seconds": 1.0, "max_rows": 1000, "max_bytes": 1_000_000}


@pytest.fixture(scope="module")
def root(read_store):
    return read_store.root


@pytest.fixture(scope="module")
def worker(root):
    found = StatementWorker(root, MEMORY)
    yield found
    found.stop()


def run(worker, sql, **limits):
    return worker.run(sql, **LIMITS | limits)


def peak(worker) -> int:
    """Most bytes that the worker's process has held, if it lives."""
    if worker._process is None:
        return 0
    with open(f"/proc/{worker._process.pid}/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_rows_come_back_with_their_types_in_order_and_errors_with_their_cure(worker):
    assert run(worker, "select step, [step] as list from sae_training order by step desc").to_pylist() == [
        {"step": step, "list": [step]} for step in (2, 1, 0)
    ]
    assert run(worker, "select [1] as a", flat=True).to_pylist() == [{"a": "[1]"}]
    with pytest.raises(InputError, match='no column "fvv": did you mean "fvu"'):
        run(worker, "select fvv from sae_training")
    assert run(worker, "from range(2500)", max_rows=7).num_rows == 7


BOMBS = {
    "printf": "select length(printf('%2000000000d', 1))",
    "printf by rows": "select max(length(printf('%5000000d', range))) from range(100000)",
    "unnest": "select count(*) from (select unnest(range(1000000000)))",
    "list": "select length(list(range)) from range(1000000000)",
    "doubling": "with recursive t(n, s) as (select 1, 'x' union all select n + 1, s || s from t where n < 60) "
    "select max(length(s)) from t",
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_limited_whoever_allocates_it(worker, name):
    with pytest.raises(InputError, match="exceeds its memory limit of 400 MB") as raised:
        run(worker, BOMBS[name], seconds=20)
    assert "\n" not in str(raised.value)
    assert peak(worker) < 2 * MEMORY


DEEP = {
    "sum": "select " + " + ".join(["1"] * 5000),
    "parentheses": "select " + "(" * 3000 + "1" + ")" * 3000,
    "not": "select " + "not " * 5000 + "true",
    "case": "select " + "case when true then " * 1000 + "1" + " end" * 1000,
    "functions": "select " + "abs(" * 2000 + "1" + ")" * 2000,
    "lists": "select " + "[" * 3000 + "1" + "]" * 3000,
    "subqueries": "select " + "(select " * 1500 + "1" + ")" * 1500,
    "type": "select null::int" + "[]" * 20000,
}


@pytest.mark.parametrize("name", DEEP)
def test_what_nests_too_deeply_is_one_line_also_without_a_process_of_its_own(worker, db, name):
    for ask in (lambda sql: run(worker, sql), lambda sql: run_select(db, sql)):
        with pytest.raises(InputError, match="nested too deeply") as raised:
            ask(DEEP[name])
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 300


def test_a_function_that_hears_no_interruption_is_ended_and_the_next_statement_runs(worker, monkeypatch):
    monkeypatch.setattr("warehouse.catalog.statement_worker.GRACE_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"^stopped after 0\.3 s: narrow"):
        run(worker, "select levenshtein(repeat('a', 100000), repeat('b', 100000))", seconds=0.3)
    assert run(worker, "select 1 as one").to_pylist() == [{"one": 1}]


def test_a_long_list_and_a_large_result_are_refused_before_they_cost_anything(worker):
    numbers = ", ".join(map(str, range(100_000)))
    with pytest.raises(InputError, match="characters, more than 200,000"):
        run(worker, f"select 1 where 5 in ({numbers})")
    with pytest.raises(InputError, match="the result has 10 MB, more than 1 MB"):
        run(worker, "select repeat('x', 100000) from range(100)")


@pytest.mark.parametrize(
    "sql",
    [
        "from read_text('/etc/passwd')",
        "from glob('/**')",
        "copy sae_training to '/tmp/x'",
        "attach '/tmp/x.db'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '1TB'",
        "pragma threads = 64",
        "select getenv('HOME')",
    ],
)
def test_files_settings_and_extensions_are_out_of_reach(worker, sql):
    with pytest.raises(InputError):
        run(worker, sql)


def test_a_visitor_who_leaves_ends_the_statement_and_its_process(root):
    class Left(BaseException):
        """What Streamlit raises."""

    def waiting():
        raise Left

    worker = StatementWorker(root, MEMORY)
    run(worker, "select 1")
    pid = worker._process.pid
    with pytest.raises(Left):
        run(worker, "select count(*) from range(10000000) a, range(10000000) b", seconds=60, waiting=waiting)
    assert not psutil.pid_exists(pid)


def test_one_that_has_ended_by_itself_starts_again_and_none_outlives_its_owner(root):
    worker = StatementWorker(root, MEMORY)
    run(worker, "select 1")
    worker._process.stdin.close()  # as after a long pause
    worker._process.wait()
    assert run(worker, "select 2 as two").to_pylist() == [{"two": 2}]
    pid = worker._process.pid
    del worker
    assert not psutil.pid_exists(pid)


def test_a_process_that_was_prepared_runs_the_first_statement(root):
    worker = StatementWorker(root, MEMORY)
    worker.prepare()
    prepared = worker._process
    worker.prepare()
    assert run(worker, "select 1 as one").to_pylist() == [{"one": 1}]
    assert worker._process is prepared
    worker.stop()


def test_preparing_does_not_wait_for_a_statement_that_runs(worker):
    prepared = []

    def waiting():
        worker.prepare()
        prepared.append(True)

    with pytest.raises(InputError, match="stopped after 1 s"):
        run(worker, "select count(*) from range(10000000) a, range(10000000) b", waiting=waiting)
    assert prepared


def test_two_visitors_do_not_wait_for_each_other(root, worker):
    other = StatementWorker(root, MEMORY)
    run(other, "select 1")
    started = []

    def waiting():
        if not started:
            started.append(time.monotonic())
            assert run(worker, "select 3 as three").to_pylist() == [{"three": 3}]

    with pytest.raises(InputError, match="stopped after 1 s"):
        run(other, "select count(*) from range(10000000) a, range(10000000) b", seconds=1, waiting=waiting)
    assert started
    other.stop()


def test_a_damaged_table_is_named(tmp_path):
    store = build(tmp_path / "warehouse")
    (file,) = (tmp_path / "warehouse" / "sae_training").rglob("*.parquet")
    os.truncate(file, file.stat().st_size - 9)
    worker = StatementWorker(store.root, MEMORY)
    with pytest.raises(DamagedFileError):
        run(worker, "from sae_training")
    worker.stop()


@pytest.mark.parametrize("raised", [duckdb.ConversionException("Conversion Error: no"), pa.ArrowInvalid("no")])
def test_an_error_of_the_conversion_is_not_called_a_limit_of_memory(raised, monkeypatch):
    class Relation:
        def to_arrow_table(self):
            raise raised

    monkeypatch.setattr("warehouse.catalog.query.run_select", lambda *_, **__: Relation())
    with pytest.raises(InputError, match="no"):
        _run(duckdb.connect(), {"sql": "", "flat": False, "max_bytes": 1} | LIMITS)
