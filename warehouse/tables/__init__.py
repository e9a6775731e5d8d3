"""The declared tables: name, meaning, columns with type, unit and meaning, keys and partitions.

Writers validate against these declarations, the catalog's views and column comments are made from them, and
``ato tables`` prints them, so there is one place to read and one to change.
"""

from warehouse.tables import causal, collect, evaluate, features, operators, runs, saes
from warehouse.tables.declarations import Column, Rule, Table

__all__ = ["SCHEMA_VERSION", "TABLES", "Column", "Rule", "Table"]

SCHEMA_VERSION = 2
"""Raised whenever a column changes; a warehouse of another version is refused, never guessed at. A further table changes none."""

_ROOMS = (collect, saes, features, operators, evaluate, causal, runs)

TABLES: dict[str, Table] = {table.name: table for room in _ROOMS for table in room.TABLES}
