"""``ato sql``: one read-only statement, or a shell."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import AtoError, InputError
from ato.text.display import visible
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import check_length, flat, run_select

MAX_SHOWN_ROWS = 200
"""Rows shown on the terminal; csv, json and parquet write all."""


def ask(query: str, format_: str = "table", *, connection: Any = None) -> None:
    """Run one read-only statement and write its result to standard output.

    Raises:
        InputError: the statement is not read-only, not valid SQL or too long.
    """
    check_length(query)
    relation = run_select(connection or connect(), query)
    if relation is None:
        return
    if format_ == "csv":
        flat(relation).pl().write_csv(sys.stdout)
    elif format_ == "json":
        print(relation.pl().write_json())
    elif format_ == "parquet":
        if sys.stdout.isatty():
            raise InputError(
                "Parquet cannot be shown on a terminal",
                cure='redirect it: ato sql --format parquet "..." > out.parquet',
            )
        relation.pl().write_parquet(sys.stdout.buffer)
    else:
        show_relation(relation)


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


def shell(format_: str = "table") -> None:
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


def _answer(statement: str, format_: str, connection: Any) -> None:
    try:
        ask(statement, format_, connection=connection)
    except AtoError as error:
        print(f"error {error}", file=sys.stderr)
