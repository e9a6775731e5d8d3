"""Views of one database are those of another after a copy: statements, comments and answers."""

import duckdb
import pytest

from ato.io.response_cache import ResponseCache
from warehouse.catalog import catalog, copied_views
from warehouse.catalog.copied_views import copy_views, file_of_views, kept_views
from warehouse.catalog.marts import mart_texts
from warehouse.tables import TABLES

DESCRIBED = "select view_name, comment from duckdb_views() where not internal order by all"


@pytest.fixture(scope="module")
def views():
    def make(connection):
        connection.execute("create view numbers as from (values (1), (2)) t(n); comment on view numbers is 'two'")
        connection.execute("comment on column numbers.n is 'of these'; create view sums as select sum(n) from numbers")

    return file_of_views(make)


def test_copied_views_answer_and_are_described_where_the_first_database_is_gone(views):
    with duckdb.connect() as connection:
        copy_views(connection, views)
        assert connection.sql("from sums").fetchall() == [(3,)]
        assert connection.sql(DESCRIBED).fetchall() == [("numbers", "two"), ("sums", None)]
        told = connection.sql("select comment from duckdb_columns() where column_name = 'n'").fetchall()
        assert told == [("of these",)]
        assert connection.sql("select database_name from duckdb_databases() where not internal").fetchall() == [
            ("memory",)
        ]


def test_a_view_reads_what_has_taken_the_place_of_the_one_that_it_was_copied_with(views):
    with duckdb.connect() as connection:
        copy_views(connection, views)
        connection.execute("create or replace view numbers as select 7 as n")
        assert connection.sql("from sums").fetchall() == [(7,)]


def test_views_are_copied_into_the_database_that_is_used(views, tmp_path):
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path}/another.duckdb' as another; use another")
        copy_views(connection, views)
        connection.execute("use memory")
        assert connection.sql("from another.sums").fetchall() == [(3,)]
        assert connection.sql("select distinct database_name from duckdb_views() where not internal").fetchall() == [
            ("another",)
        ]


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def of_a_number(n, made):
    """Views of one number, and a note that they were made."""

    def make(connection):
        made.append(n)
        connection.execute(f"create view numbers as select {n} as n")

    return make


def numbers(views):
    with duckdb.connect() as connection:
        copy_views(connection, views)
        return connection.sql("from numbers").fetchall()


def test_views_are_made_once_for_all_processes_and_anew_of_other_statements(home):
    made = []
    assert numbers(kept_views(["select 1"], of_a_number(1, made))) == [(1,)]
    assert numbers(kept_views(["select 1"], of_a_number(1, made))) == [(1,)]
    assert made == [1]
    assert numbers(kept_views(["select 2"], of_a_number(2, made))) == [(2,)]
    assert made == [1, 2]


def test_views_of_another_duckdb_are_not_read(home, monkeypatch):
    made = []
    kept_views(["select 1"], of_a_number(1, made))
    monkeypatch.setattr(copied_views.duckdb, "__version__", "another")
    kept_views(["select 1"], of_a_number(1, made))
    assert made == [1, 1]


def test_damaged_views_are_made_anew(home):
    made = []
    kept_views(["select 1"], of_a_number(1, made))
    (file,) = (path for path in home.rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    assert numbers(kept_views(["select 1"], of_a_number(1, made))) == [(1,)]
    assert made == [1, 1]


@pytest.mark.parametrize("cache", ["a file", "nobody's home"])
def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch, cache):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file) if cache == "a file" else "")
    if cache == "nobody's home":
        monkeypatch.setattr(copied_views.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    made = []
    assert numbers(kept_views(["select 1"], of_a_number(1, made))) == [(1,)]
    assert made == [1]


def test_a_process_with_other_marts_or_tables_binds_its_own_views(home, monkeypatch):
    """What is kept is found by all that it follows from, so that no version reads the views of another."""
    asked = []
    monkeypatch.setattr(ResponseCache, "get", lambda self, request: asked.append(request) or b"kept")
    tables, marts = tuple(TABLES.values()), tuple(mart_texts().items())
    of_views = catalog._views_without_files.__wrapped__
    assert of_views(tables, marts) == of_views(tables, marts) == b"kept"
    of_views(tables[1:], marts)
    of_views(tables, marts[1:])
    assert len(set(asked)) == 3
