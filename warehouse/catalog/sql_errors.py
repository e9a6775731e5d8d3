"""DuckDB errors on one line, with the nearest column or table name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import duckdb

from ato.errors import DamagedFileError, InputError

_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(?P<name>[^"]+)"')
_TABLE = re.compile(r"Table with name (?P<name>.+?) does not exist")
_CANDIDATES = re.compile(r"Candidate bindings?: (.*)")
_KIND = re.compile(r"^(Binder|Catalog|Parser|Permission|Conversion|Invalid Input|Out of Range|INTERRUPT) Error: ")


@contextmanager
def running(connection: duckdb.DuckDBPyConnection | None = None, sql: str = "") -> Iterator[None]:
    """Turn DuckDB's errors into InputError and DamagedFileError, each on one line.

    Args:
        connection: of the statement; needed to suggest names for an unknown one.
        sql: the statement.
    """
    try:
        yield
    except duckdb.Error as error:
        raise _one_line(error, connection, sql) from error


def _one_line(
    error: duckdb.Error, connection: duckdb.DuckDBPyConnection | None, sql: str
) -> InputError | DamagedFileError:
    text = str(error)
    if found := re.search(r"damaged file .*", text):
        return DamagedFileError(found[0])
    if isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)) and ".parquet" in text:
        cure = "remove this file, then run the `ato run` that made it again: it rebuilds the stage"
        return DamagedFileError(f"a file cannot be read: {text.splitlines()[0]}", cure=cure)
    if isinstance(error, duckdb.OutOfMemoryException):
        cure = "narrow the query: one collection, fewer columns, or an aggregate"
        return InputError("the statement exceeds its memory limit", cure=cure)
    if "Max expression depth" in text or "Maximum recursion depth" in text:
        cure = "write long sums and conditions with list functions, IN or a join"
        return InputError("the statement is nested too deeply", cure=cure)
    known = _columns(connection) if connection is not None else {}
    if known and (found := _COLUMN.search(text)):
        name = found["name"]
        return InputError(f'no column "{name}"', where=_line_of(name, sql), cure=_column_meant(name, text, sql, known))
    if known and (found := _TABLE.search(text)):
        name = found["name"]
        return InputError(f'no table "{name}"', where=_line_of(name, sql), cure=_table_meant(name, known))
    found = re.search(r"\n\nLINE (\d+): ", text)
    where = f"line {found[1]}" if found and int(found[1]) > 1 else None
    message, *rest = text.split("\n\nLINE ")[0].splitlines() or [type(error).__name__]
    hint = " ".join(line.strip() for line in rest if line.strip())
    return InputError(_KIND.sub("", message).strip().rstrip("!."), where=where, cure=hint or None)


def _line_of(name: str, sql: str) -> str | None:
    """Line of the first occurrence of a name in a multi-line statement."""
    lines = sql.strip().splitlines()
    numbers = (number for number, line in enumerate(lines, 1) if re.search(rf"\b{re.escape(name)}\b", line))
    return f"line {next(numbers, 1)}" if len(lines) > 1 else None


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Table or mart -> its columns."""
    sql = "select table_name, list(column_name order by column_index) from duckdb_columns() where not internal group by all"
    return dict(connection.cursor().sql(sql).fetchall())


def _column_meant(name: str, text: str, sql: str, known: dict[str, list[str]]) -> str:
    words = set(re.findall(r"\w+", sql.lower()))
    there = [column for table, columns in known.items() if table in words for column in columns]
    if candidates := _CANDIDATES.search(text):
        there += [candidate.split(".")[-1] for candidate in re.findall(r'"([^"]+)"', candidates[1])]
    if name.lower() in there:
        return "no table in the statement has it: add FROM, or the missing table"
    if near := get_close_matches(name.lower(), sorted(set(there)), cutoff=0.7):
        return _did_you_mean(near)
    if elsewhere := sorted(table for table, columns in known.items() if name.lower() in columns):
        return f"it is a column of {', '.join(elsewhere[:5])}"
    if f'"{name}"' in sql:
        return f"if it is text, write '{name}'"
    if near := get_close_matches(name.lower(), sorted(set(there)), cutoff=0.3):
        return _did_you_mean(near)
    return "the view `catalog` lists all columns"


def _table_meant(name: str, known: dict[str, list[str]]) -> str:
    near = get_close_matches(name.lower(), list(known), cutoff=0.5)
    return _did_you_mean(near) if near else "`show tables` lists all"


def _did_you_mean(near: list[str]) -> str:
    """The nearest first."""
    first, *others = near
    return f'did you mean "{first}"?' + (f" (also near: {', '.join(others)})" if others else "")
