"""``ato tables``: tables and marts with row counts and meanings, or the columns of one."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ato.errors import AtoError, InputError
from flows.commands.sql import show_relation
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select
from warehouse.tables import TABLES


def describe_tables(name: str | None = None) -> None:
    """Print all tables with row counts and meanings, or the columns of one table.

    Raises:
        InputError: no such table.
    """
    connection = connect()
    if name is not None:
        known = {
            row[0]
            for row in connection.sql(
                "select view_name from duckdb_views() where not internal and schema_name = 'main'"
            ).fetchall()
        }
        if name not in known:
            raise InputError(f"no table {name!r}", cure=f"choose from {', '.join(sorted(known))}")
        columns = f"select column_name, type, unit, meaning from catalog where table_name = '{name}'"
        show_relation(run_select(connection, columns if name in TABLES else f"describe {name}"), title=name)
        return
    table = Table("table", "rows", "meaning", title="Tables", title_justify="left", title_style="bold")
    table.columns[1].justify = "right"
    for declared in TABLES.values():
        table.add_row(declared.name, _row_count(connection, declared.name), declared.meaning)
    table.add_section()
    for mart, meaning in connection.sql(
        "select view_name, comment from duckdb_views() where not internal and schema_name = 'main' and view_name not in "
        f"{(*TABLES, 'catalog')} order by 1"
    ).fetchall():
        table.add_row(mart, _row_count(connection, mart), meaning)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _row_count(connection: Any, name: str) -> str:
    try:
        return f"{run_select(connection, f'select count(*) from {name}').fetchall()[0][0]:,}"
    except AtoError:
        return "damaged"
