"""Panels of the page ``graphs``: the graphs there are, and the checks of the chosen one."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import ticked
from dashboards.views.graphs.about import EMPTY

SHOWN = 500
"""Graphs at most; the SQL page has all."""

CHECKS = """select n_tokens, n_features, n_edges, n_nodes_whole, n_edges_whole, replacement, completeness, transport_share,
    conservation_residual, balanced, repeat_difference, n_ablated, pearson, pearson_low, pearson_high, pearson_control, precision
from graph_summary
where collection = $collection and prompt = $prompt and graph_kind = $graph_kind"""
GRAPHS = f"""select prompt, graph_kind, coalesce(target_token, likeliest_token) as target, n_tokens, n_features, n_edges, replacement,
    completeness, error_share, transport_share, conservation_residual, balanced, pearson, pearson_low, pearson_high, pearson_control,
    seconds
from graph_summary
where collection = $collection
order by prompt, graph_kind
limit {SHOWN}"""


def checks(about: dict[str, Any]) -> None:
    """Numbers of the chosen graph."""
    panel(
        "Checks",
        filled(CHECKS, **about),
        _checks,
        note="Residual: the largest gap between the sum of a node's incoming edges and its value. Pearson: a random sample of edges "
        "against ablations of their sources in the real model, with the 95 % interval; control: the same ablations against other edges. "
        "Replacement and completeness: how much influence is not from what SAEs leave out. Transport: share of the compared effect "
        "between features that operators carry. –: not measured.",
        empty=EMPTY,
    )


def _checks(rows: pl.DataFrame) -> None:
    of = rows.row(0, named=True)
    shown = {
        "features": f"{of['n_features']:,d}",
        "edges": f"{of['n_edges']:,d}",
        "replacement": _number(of["replacement"]),
        "completeness": _number(of["completeness"]),
        "transport": _number(of["transport_share"], ".0%"),
        "residual": _number(of["conservation_residual"], ".0e"),
        "Pearson": _interval(of),
        "control": _number(of["pearson_control"]),
    }
    with st.container(horizontal=True):
        for label, text in shown.items():
            st.metric(label, text, width="content")
    if of["balanced"] is False:
        st.warning("The edges of this graph do not sum to its values: do not interpret it.")


def _number(value: float | None, format: str = ".2f") -> str:
    return "–" if value is None else f"{value:{format}}"


def _interval(of: dict[str, Any]) -> str:
    if of["pearson"] is None or of["pearson_low"] is None:
        return _number(of["pearson"])
    return f"{of['pearson']:.2f} [{of['pearson_low']:.2f}, {of['pearson_high']:.2f}]"


def all_graphs(collection: str) -> None:
    """A row a graph; a ticked one is opened."""
    panel(
        "Graphs of this collection",
        filled(GRAPHS, collection=collection),
        _table,
        note=f"At most {SHOWN} rows, the latest graph of each prompt and kind. Tick a row to open the graph.",
        empty=EMPTY,
    )


def _table(rows: pl.DataFrame) -> None:
    score = partial(st.column_config.NumberColumn, format="%.2f", width="small")
    whole = partial(st.column_config.NumberColumn, format="localized", width="small")
    picked = ticked(
        rows,
        {
            "graph_kind": "kind",
            "n_tokens": whole("tokens"),
            "n_features": whole("features"),
            "n_edges": whole("edges"),
            "replacement": score("replacement"),
            "completeness": score("completeness"),
            "error_share": score("from errors"),
            "transport_share": score("transport"),
            "conservation_residual": st.column_config.NumberColumn("residual", format="scientific", width="small"),
            "pearson": score("Pearson"),
            "pearson_low": score("from"),
            "pearson_high": score("to"),
            "pearson_control": score("control"),
            "seconds": score("seconds"),
        },
        key="all graphs",
    )
    if picked is not None:
        go("graphs", prompt=picked["prompt"], graph_kind=picked["graph_kind"])
