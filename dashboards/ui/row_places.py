"""From a row of a table to its place in the text: rows that name a sequence or a document lead to the reader."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go

SEQUENCES = {"sequence_id": "position", "max_sequence_id": "max_position"}
"""Column of a sequence -> column of the position in it."""
DOCUMENT = "document_id"


def has_places(columns: list[str]) -> bool:
    """Whether rows with these columns name a sequence or a document."""
    return any(name in columns for name in (*SEQUENCES, DOCUMENT))


def place_of(row: Mapping[str, Any]) -> dict[str, object] | None:
    """The address of a row's place in the reader: its sequence and position, else its document; None if it names neither.

    A feature that the row is about is highlighted there.
    """
    found: dict[str, object] = {}
    for sequence, position in SEQUENCES.items():
        if row.get(sequence) is not None and not found:
            found = {"sequence": row[sequence], "position": row.get(position)}
    if not found and row.get(DOCUMENT) is None:
        return None
    found["document"] = row.get(DOCUMENT)
    if isinstance(row.get("collection"), str):
        found["collection"] = row["collection"]
    if row.get("sae") is not None and row.get("feature_id") is not None:
        found["features"] = f"{row['sae']}/{row['feature_id']}"
    return {name: value for name, value in found.items() if value is not None}


def rows_with_places(rows: pl.DataFrame, key: str, shown: pl.DataFrame | None = None, **options: Any) -> None:
    """A table of which a ticked row opens its place in the text, if its rows name one.

    Args:
        rows: of a statement.
        key: of the table on its page.
        shown: the same rows with the columns that are drawn; default all.
        options: of ``st.dataframe``.
    """
    drawn = rows if shown is None else shown
    options = {"placeholder": "–"} | options
    if not has_places(rows.columns):
        st.dataframe(drawn, hide_index=True, **options)
        return
    clicked = st.dataframe(drawn, hide_index=True, key=key, on_select="rerun", selection_mode="single-row", **options)
    for number in clicked["selection"]["rows"]:
        if (place := place_of(rows.row(number, named=True))) is not None:
            go("reader", **place)
