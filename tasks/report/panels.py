"""A panel of the report: one SQL statement, its rows, and how they are drawn."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import duckdb
import polars as pl

from ato.numerics.evenly import evenly_spaced
from ato.operators.methods import BASELINES
from tasks.report.drawing import Draw
from tasks.settings.report import Features
from warehouse.catalog.catalog import connect
from warehouse.catalog.sql_errors import running
from warehouse.storage.warehouse import Warehouse

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """One figure (or block of text) of the report with its SQL and rows."""

    key: str
    """Anchor on the page and name of its PNG file."""
    title: str
    sql: str
    """The statement that returns ``rows``; it runs unchanged in ``ato sql``."""
    rows: Rows
    caption: str
    """How to read it: axes, units, intervals."""
    n: str
    """Sample sizes."""
    alt: str
    """Text alternative to the figure."""
    draw: Draw | None = None
    body: str = ""
    """HTML in place of a figure."""
    absent: str = ""
    """Why there is no data; empty if there is."""


def absent(key: str, title: str, sql: str, reason: str) -> Panel:
    """A panel without rows; ``reason`` names the command that makes some."""
    return Panel(key, title, sql, [], "", "", "", absent=reason)


@dataclass(frozen=True)
class Scope:
    """What the figures show: one collection, one method, one position policy."""

    connection: duckdb.DuckDBPyConnection
    collection: str
    method: str
    """``ridge``, the study's method, if it was fitted."""
    position_policy: str
    features: Features = "all"
    """Over which features averages are made: all scored ones, or the selected ones."""

    @property
    def of_features(self) -> str:
        """Condition on the features of ``feature_depth``."""
        return f"features = {text(self.features)}"

    @property
    def where(self) -> str:
        """Condition on collection, method and policy."""
        return f"{self.of_collection} and method = {text(self.method)} and {self.of_policy}"

    def conditions(self, alias: str) -> str:
        """``where`` for the columns of one of several joined tables."""
        return " and ".join(f"{alias}.{condition}" for condition in self.where.split(" and "))

    @property
    def of_collection(self) -> str:
        """Condition on the collection."""
        return f"collection = {text(self.collection)}"

    @property
    def of_policy(self) -> str:
        """Condition on the position policy."""
        return f"position_policy = {text(self.position_policy)}"

    def ask(self, sql: str) -> Rows:
        """The rows of a select."""
        with running():
            return self.connection.sql(sql).to_arrow_table().to_pylist(maps_as_pydicts="strict")

    def table(self, sql: str) -> pl.DataFrame:
        """The rows of a select as a data frame."""
        with running():
            return self.connection.sql(sql).pl()


def open_scope(warehouse: Warehouse, collection: str, features: Features = "all") -> Scope:
    """The scope of a collection: ridge at the same position if fitted, else the choice with the most operators."""
    connection = connect(warehouse)
    scope = Scope(connection, collection, "ridge", "same", features)
    found = scope.ask(
        f"select method, position_policy from operators where {scope.of_collection} "
        f"and method not in ({', '.join(map(text, BASELINES))}) group by method, position_policy "
        "order by position_policy = 'same' desc, method = 'ridge' desc, count(*) desc, method, position_policy limit 1"
    )
    return replace(scope, **found[0]) if found else scope


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def spread(values: Iterable[Any], n: int) -> list[Any]:
    """At most n distinct values, sorted and evenly spaced, both ends included."""
    return evenly_spaced(sorted(set(values)), n)


def in_sentences(panel: Panel, sentences: Iterable[str]) -> Panel:
    """The panel with sentences in place of a figure."""
    body = "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"
    return replace(panel, alt=f"{panel.title}, in sentences.", body=body)
