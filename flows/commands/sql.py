"""``ato sql``: one read-only statement, or a shell."""

import sys
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import AtoError, InputError, file_error
from ato.text.display import visible
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import check_length, flat, run_select
from warehouse.exports.about import About, sizes, today
from warehouse.exports.latex import latex_file
from warehouse.exports.tables import csv_file, csv_metadata, parquet_file

Format = Literal["table", "csv", "json", "parquet", "latex"]

MAX_SHOWN_ROWS = 200
"""Rows shown on the terminal; the other formats write all."""


def ask(
    query: str,
    format_: Format | None = None,
    *,
    output: Path | None = None,
    caption: str = "",
    connection: Any = None,
) -> None:
    """Run one read-only statement and write its result to standard output, or to a file.

    Args:
        query: the statement.
        format_: of the result; default: what the file's ending says, else a table for the terminal.
        output: file to write.
        caption: of a LaTeX table and in the metadata of a Parquet file.
        connection: to the warehouse, if there is one already.

    Raises:
        InputError: the statement is not read-only, not valid SQL or too long; or no format that fits the file.
        UnavailableError: the file cannot be written.
    """
    format_ = _format(format_, output)
    check_length(query)
    relation = run_select(connection or connect(), query)
    if relation is None:
        return
    if format_ == "table":
        show_relation(relation)
        return
    files = _files(relation, query, format_, caption, output.name if output else "result")
    if output is not None:
        _write(files, output)
    elif format_ != "parquet":
        sys.stdout.write(files[""].decode())
    elif sys.stdout.isatty():
        raise InputError(
            "Parquet cannot be shown on a terminal",
            cure='redirect it, or name a file: ato sql --output out.parquet "..."',
        )
    else:
        sys.stdout.buffer.write(files[""])


def _format(format_: Format | None, output: Path | None) -> Format:
    if output is None or (format_ is not None and format_ != "table"):
        return format_ or "table"
    by_ending: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".tex": "latex"}
    if format_ is None and output.suffix in by_ending:
        return by_ending[output.suffix]
    raise InputError("no format for this file", where=output, cure=f"name it {', '.join(by_ending)}, or give --format")


def _files(relation: Any, query: str, format_: Format, caption: str, name: str) -> dict[str, bytes]:
    """What stands in the file, and by ending of their names what stands in those beside it."""
    if format_ == "json":
        return {"": relation.pl().write_json().encode() + b"\n"}
    rows = relation.pl()
    about = About(caption or "Result of a statement", "", sizes(rows), query, _collection(rows), today())
    if format_ == "csv":
        flat_rows = flat(relation).pl()
        return {"": csv_file(flat_rows), "-metadata.json": csv_metadata(rows, about, name)}
    return {"": parquet_file(rows, about) if format_ == "parquet" else latex_file(rows, about)}


def _collection(rows: Any) -> str:
    """The collection of all rows; empty if they do not say, or are of several."""
    found = rows["collection"].unique().to_list() if "collection" in rows.columns else []
    return str(found[0]) if len(found) == 1 and found[0] is not None else ""


def _write(files: dict[str, bytes], output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for ending, content in files.items():
            output.with_name(output.name + ending).write_bytes(content)
    except OSError as error:
        raise file_error(error, output) from error


def show_relation(relation: Any, title: str | None = None) -> None:
    """Print a relation as a table; a long result is cut after ``MAX_SHOWN_ROWS`` rows, with a note."""
    rows = relation.limit(MAX_SHOWN_ROWS + 1).fetchall()
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name, kind in zip(relation.columns, relation.types):
        numeric = str(kind).split("(")[0] in {
            "DOUBLE",
            "FLOAT",
            "BIGINT",
            "INTEGER",
            "SMALLINT",
            "HUGEINT",
            "DECIMAL",
            "UBIGINT",
        }
        table.add_column(Text(visible(name)), justify="right" if numeric else "left", overflow="fold")
    for row in rows[:MAX_SHOWN_ROWS]:
        table.add_row(*(Text(format_value(value)) for value in row))  # a token such as [/INST] is no markup
    console = Console()
    if not console.is_terminal:  # piped output must not be folded to an assumed width
        console = Console(width=max(160, 22 * len(relation.columns)))
    console.print(table)
    if len(rows) > MAX_SHOWN_ROWS:
        console.print(f"(first {MAX_SHOWN_ROWS} rows; --format csv writes all)")


def format_value(value: object) -> str:
    """A value as text: four significant digits, a dash for NULL, long text shortened."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e4 else f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    text = visible(str(value), keep="\n\t")
    return text if len(text) <= 120 else text[:117] + "..."


def shell(format_: Format | None = None) -> None:
    """Read statements from standard input, each ended by a semicolon, until end of file or ``exit``."""
    connection = connect()
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  (gives input() its history and editing)

        print("End each statement with ;   `show tables;` lists the tables   exit or Ctrl-D to leave")
    waiting = ""
    while True:
        try:
            line = input(("ato> " if not waiting else "...> ") if interactive else "")
        except EOFError:
            break
        if not waiting and line.strip().rstrip(";") in {"exit", "quit"}:
            return
        waiting = f"{waiting}\n{line}".strip()
        if waiting.endswith(";"):
            _answer(waiting, format_, connection)
            waiting = ""
    if waiting:
        _answer(waiting, format_, connection)


def _answer(statement: str, format_: Format | None, connection: Any) -> None:
    try:
        ask(statement, format_, connection=connection)
    except AtoError as error:
        print(f"error {error}", file=sys.stderr)
