"""SQL of users: exactly one reading statement, and errors that fit on one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from ato.errors import DamagedFileError, InputError

_EXPLAIN = re.compile(r"\s*explain(\s+analyze\b)?(\s*\([^)]*\))?", re.IGNORECASE)
_PRAGMA = re.compile(r"\s*pragma\s+(show|show_tables|show_tables_expanded|table_info|version)\b", re.IGNORECASE)
_ONLY = "give one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"


def run_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """Run one reading statement and return its rows as a relation (``.pl()``, ``.df()``, ``.fetchall()``).

    The rows are computed here, once, and held in memory; every error arises here. It runs on a cursor of its own, so
    that threads may share the connection.

    Raises:
        InputError: not exactly one reading statement, or wrong SQL (with DuckDB's hint, such as the nearest column).
        DamagedFileError: a table that it reads has a missing or short file; names the file and the cure.
    """
    cursor = connection.cursor()
    with running():
        return cursor.sql(_reading_statement(cursor, sql)).materialize()


@contextmanager
def running() -> Iterator[None]:
    """Turn DuckDB's errors into InputError and DamagedFileError, each on one line."""
    try:
        yield
    except duckdb.Error as error:
        raise _one_line(error) from error


def _reading_statement(cursor: duckdb.DuckDBPyConnection, sql: str) -> str:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise InputError(f"{len(statements)} SQL statements given", cure=_ONLY)
    kind, query = statements[0].type, statements[0].query
    if kind == duckdb.StatementType.EXPLAIN:
        _check_select(cursor, query[_EXPLAIN.match(query).end() :] if _EXPLAIN.match(query) else query)  # type: ignore[union-attr]
    elif kind != duckdb.StatementType.PRAGMA or not _PRAGMA.match(query):
        _check_select(cursor, query)
    return query


def _check_select(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse all that writes, also where the parser calls it a select (``with t as (copy ... to ...) from t``)."""
    statements = duckdb.extract_statements(query)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        if kinds == [duckdb.StatementType.MULTI]:
            raise InputError("PIVOT needs its values listed", cure="write `pivot t on column in (...) using ...`")
        given = kinds[0].name if kinds else "nothing"
        raise InputError(f"only reading statements are allowed, not {given}", cure=_ONLY)
    body = statements[0].query.rstrip().rstrip(";")
    try:
        # DuckDB binds writing statements at the top level only. Making a relation binds and runs nothing.
        cursor.sql(f"select * from (\n{body}\n)")
    except duckdb.BinderException as error:
        if re.search(r"must be at the top level", str(error)):
            raise InputError("only reading statements are allowed, also within WITH", cure=_ONLY) from error
        raise


def _one_line(error: duckdb.Error) -> InputError | DamagedFileError:
    text = str(error)
    if found := re.search(r"damaged file .*", text):
        return DamagedFileError(found[0])
    if isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)) and ".parquet" in text:
        cure = "run `ato check`, then the command that wrote it again"
        return DamagedFileError(f"a file cannot be read: {text.splitlines()[0]}", cure=cure)
    message, *rest = text.split("\n\nLINE ")[0].splitlines() or [type(error).__name__]
    hint = " ".join(line.strip() for line in rest if line.strip())
    return InputError(message.strip().rstrip("!."), cure=hint or None)
