"""The part of the page ``compare`` about any two things: their fields, and a panel for each part of their comparison."""

from collections.abc import Callable, Mapping

import polars as pl
import streamlit as st

from dashboards.ui.navigation import link, name_tab
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.views.compare import two_collections, two_entities, two_features, two_graphs, two_operators, two_saes
from dashboards.views.compare.fields import chosen
from dashboards.views.compare.sided import COLOURS, differences
from warehouse.catalog.compared.comparisons import parts
from warehouse.catalog.compared.sides import Side, fill
from warehouse.catalog.compared.statements import SIDES

DRAW: dict[str, Mapping[str, Callable[[pl.DataFrame], None]]] = {
    "feature": two_features.DRAW,
    "operator": two_operators.DRAW,
    "sae": two_saes.DRAW,
    "collection": two_collections.DRAW,
    "entity": two_entities.DRAW,
    "graph": two_graphs.DRAW,
}
"""Kind -> title of a part -> what draws its rows."""


def any_two(collection: str) -> None:
    """Draw the two things that the address names."""
    found = chosen(collection)
    if found is None:
        return
    left, right = found
    name_tab(f"{left.title} and {right.title}", "Compare")
    for name, side, place in zip(SIDES, found, st.columns(2)):
        with place:
            _head(name, side, collection)
    if left == right:
        st.info("Both sides are the same: every difference is 0.")
    draw = {"Differences": differences, **DRAW[left.kind]}
    for part in parts(left, right):
        panel(part.title, fill(part.sql, left, right), draw[part.title], note=part.note, empty=part.empty)


def _head(name: str, side: Side, collection: str) -> None:
    """What a side is, in its colour, with the way to its own page."""
    st.html(f"<b style='color:{COLOURS[name]}'>■ {name}</b>")
    at = "" if side.collection == collection or side.kind == "collection" else f", in {side.collection}"
    page, address = _page(side)
    link(plain(f"{side.title}{at}"), page, collection=side.collection, **address)


def _page(side: Side) -> tuple[str, dict[str, object]]:
    """Page of a thing, and what its address says there."""
    if side.kind == "entity":
        return "entities", {"entity": side.values["shown"]}
    page, names = {
        "feature": ("features", ("sae", "feature_id")),
        "operator": ("operators", ("operator",)),
        "sae": ("saes", ("sae",)),
        "collection": ("overview", ()),
        "graph": ("graphs", ("prompt", "graph_kind")),
    }[side.kind]
    return page, {name: side.values[name] for name in names}
