"""The declared tables: name, meaning, columns with type, unit and meaning, keys and partitions.

Writers validate against these declarations; the views, their column comments and ``ato tables`` derive from them.
"""

from warehouse.tables import (
    causal,
    collect,
    compare,
    embeddings,
    entities,
    entity_latents,
    evaluate,
    fate,
    features,
    graph_attention,
    graphs,
    jacobians,
    label_evidence,
    labels,
    lists,
    operators,
    runs,
    sae_looks,
    sae_study,
    saes,
    steering,
)
from warehouse.tables.declarations import Column, Rule, Table

__all__ = ["SCHEMA_VERSION", "TABLES", "Column", "Rule", "Table"]

SCHEMA_VERSION = 6
"""Raised when a column changes; a warehouse of another version is refused. A new table does not raise it."""

_ROOMS = (
    collect,
    saes,
    features,
    jacobians,
    operators,
    evaluate,
    causal,
    entities,
    entity_latents,
    sae_study,
    sae_looks,
    label_evidence,
    labels,
    embeddings,
    graphs,
    graph_attention,
    compare,
    steering,
    fate,
    runs,
    lists,
)

TABLES: dict[str, Table] = {table.name: table for room in _ROOMS for table in room.TABLES}
