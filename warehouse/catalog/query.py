"""SQL of users: exactly one read-only statement over tables and marts, with limits on time, memory and rows."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import duckdb

from ato.errors import InputError
from warehouse.catalog.sql_errors import running

LONGEST_STATEMENT = 200_000
"""Characters of a user's statement."""
_EXPLAIN = re.compile(r"\s*explain(\s+analyze\b)?(\s*\([^)]*\))?", re.IGNORECASE)
_PRAGMA = re.compile(r"\s*pragma\s+(show|show_tables|show_tables_expanded|table_info|version)\b", re.IGNORECASE)
_ONLY = "write one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"
_ROW_MAKERS = frozenset(
    (
        "range",
        "generate_series",
        "unnest",
        "repeat",
        "repeat_row",
        "histogram",
        "histogram_values",
        "json_each",
        "json_tree",
        "summary",
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_settings",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
        "pragma_table_info",
    )
)
"""Table functions that read no files and change nothing; all others are refused."""


def run_select(
    connection: duckdb.DuckDBPyConnection, sql: str, *, seconds: float | None = None, max_rows: int | None = None
) -> duckdb.DuckDBPyRelation:
    """Run one read-only statement and return its rows as a relation (``.pl()``, ``.df()``, ``.fetchall()``).

    The rows are computed here, once, and held in memory, so every error is raised here. Each call uses its own cursor, so
    threads may share the connection.

    Args:
        connection: of ``warehouse.connect``, which also limits the memory.
        sql: the statement.
        seconds: time limit.
        max_rows: limit on rows; further rows are not computed.

    Raises:
        InputError: not exactly one read-only statement, wrong SQL (with the nearest column or table), or over a limit.
        DamagedFileError: a table that it reads has a missing or short file; names the file and the cure.
    """
    cursor = connection.cursor()
    with running(connection, sql), _at_most(seconds, cursor):
        found = cursor.sql(_reading_statement(cursor, sql))
        return (found if max_rows is None else found.limit(max_rows)).materialize()


def flat(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows with nested values as JSON text, for flat formats such as CSV."""
    columns = []
    for name, kind in zip(relation.columns, relation.types):
        quoted = '"' + name.replace('"', '""') + '"'
        nested = kind.id in ("array", "list", "map", "struct", "union")
        columns.append(f"to_json({quoted})::varchar as {quoted}" if nested else quoted)
    return relation.project(", ".join(columns))


def out_of_time(seconds: float) -> InputError:
    """The error of a statement that was stopped after its time limit."""
    cure = "narrow the query: one collection, fewer columns, or a mart instead of its tables"
    return InputError(f"stopped after {seconds:g} s", cure=cure)


def check_length(sql: str) -> None:
    """Raise InputError for a statement that is too long.

    Its time grows with the square of its parts: a union of 8,000 selects takes 21 s.
    """
    if len(sql) > LONGEST_STATEMENT:
        what = f"the statement has {len(sql):,} characters, more than {LONGEST_STATEMENT:,}"
        raise InputError(what, cure="select what its lists hold from a table or mart")


@contextmanager
def _at_most(seconds: float | None, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt a cursor's statement after a time limit."""
    if seconds is None:
        yield
        return
    timer = Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise out_of_time(seconds) from error
    finally:
        timer.cancel()


def _reading_statement(cursor: duckdb.DuckDBPyConnection, sql: str) -> str:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise InputError(f"expected one SQL statement, got {len(statements)}", cure=_ONLY)
    kind, query = statements[0].type, statements[0].query
    if kind == duckdb.StatementType.EXPLAIN:
        _check_select(cursor, query[_EXPLAIN.match(query).end() :] if _EXPLAIN.match(query) else query)  # type: ignore[union-attr]
    elif kind != duckdb.StatementType.PRAGMA or not _PRAGMA.match(query):
        _check_select(cursor, query)
    return query


def _check_select(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse every write, also where the parser calls it a select (``with t as (copy ... to ...) from t``)."""
    statements = duckdb.extract_statements(query)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        if kinds == [duckdb.StatementType.MULTI]:
            raise InputError("PIVOT needs its values listed", cure="write `pivot t on column in (...) using ...`")
        given = kinds[0].name if kinds else "nothing"
        raise InputError(f"only read-only statements are allowed, not {given}", cure=_ONLY)
    body = statements[0].query.rstrip().rstrip(";")
    _check_sources(cursor, body)
    try:
        # DuckDB binds writing statements at the top level only. Making a relation binds and runs nothing.
        cursor.sql(f"select * from ({body}\n)")
    except duckdb.BinderException as error:
        if re.search(r"must be at the top level", str(error)):
            raise InputError("only read-only statements are allowed, also within WITH", cure=_ONLY) from error
        raise


def _check_sources(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse sources other than tables and marts: files (the warehouse's own too) and table functions."""
    [(text,)] = cursor.sql("select json_serialize_sql(?)", params=[query]).fetchall()
    try:
        parsed = json.loads(text)
    except RecursionError:
        cure = "write long sums and conditions with list functions, IN or a join"
        raise InputError("the statement is nested too deeply", cure=cure) from None
    for node in _nodes(parsed):
        kind, name = node.get("type"), None
        if kind == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in _ROW_MAKERS:
            name = node["function"]["function_name"]
        elif kind == "BASE_TABLE" and re.search(r"[./\\]", node["table_name"]):
            name = node["table_name"]
        if name is not None:
            raise InputError(
                f"access to files and system functions is disabled: {name}", cure="read tables and marts: `show tables`"
            )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a JSON value, however deep."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            found = list(found.values())
        if isinstance(found, list):
            waiting += found
