"""Queries of the pages: results shared by all sessions, and statements with values filled in."""

import os
from datetime import datetime

import duckdb
import polars as pl
import streamlit as st

from dashboards.ui.snapshot import Live, Snapshot
from warehouse.catalog.literals import filled, literal
from warehouse.catalog.sql_errors import running

__all__ = ["ask", "filled", "literal", "snapshot"]

REMEMBERED = 400
"""Query results kept in memory; they are small aggregates."""


def snapshot() -> Snapshot:
    """The current snapshot of the warehouse, on a connection that all sessions share."""
    return _live(os.environ.get("ATO_WAREHOUSE")).current()


def renew_lists() -> None:
    """Let all sessions see the changes of lists that were written a moment ago."""
    _live(os.environ.get("ATO_WAREHOUSE")).renew_lists()


@st.cache_resource(show_spinner=False)
def _live(root: str | None) -> Live:
    return Live(root)


def ask(sql: str) -> pl.DataFrame:
    """The rows of one statement of the pages, in which ``filled`` has put what readers chose.

    It is not checked again: what readers write themselves runs in a ``StatementWorker``.

    Raises:
        InputError: wrong SQL.
        DamagedFileError: a table that it reads has a missing or short file.
    """
    now = snapshot()
    return _answer(sql, now.as_of(sql), now.connection)


@st.cache_data(max_entries=REMEMBERED, show_spinner=False)
def _answer(sql: str, as_of: datetime, _connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    with running(_connection, sql):
        return _connection.cursor().sql(sql).pl()
