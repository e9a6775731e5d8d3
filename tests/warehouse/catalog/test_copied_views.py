"""Views of one database are those of another after a copy: statements, comments and answers."""

import duckdb
import pytest

from warehouse.catalog.copied_views import copy_views, file_of_views

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
