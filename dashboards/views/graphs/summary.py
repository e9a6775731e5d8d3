"""Panels of the page ``graphs``: the graphs there are, and the checks of the chosen one."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.declared import Column, Link, Panel, interval
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

CHECKS_OF_GRAPH = Panel(
    "Checks",
    CHECKS,
    note="Residual: the largest gap between the sum of a node's incoming edges and its value. Pearson: a random sample of edges "
    "against ablations of their sources in the real model, with the 95 % interval; control: the same ablations against other edges. "
    "Replacement and completeness: how much influence is not from what SAEs leave out. Transport: share of the compared effect "
    "between features that operators carry. –: not measured.",
    empty=EMPTY,
    view="facts",
    columns=(
        Column("n_features", "features", "integer"),
        Column("n_edges", "edges", "integer"),
        Column("replacement", "replacement"),
        Column("completeness", "completeness"),
        Column("transport_share", "transport", "percent"),
        Column("conservation_residual", "residual"),
        Column("balanced", "edges sum to the values"),
        *interval("pearson", "Pearson"),
        Column("pearson_control", "control"),
    ),
)
ALL_GRAPHS = Panel(
    "Graphs of this collection",
    GRAPHS,
    note=f"At most {SHOWN} rows, the latest graph of each prompt and kind. From errors: share of the influence that comes from what SAEs "
    "leave out; the other columns as above. Tick a row to open the graph.",
    empty=EMPTY,
    columns=(
        Column("prompt", "prompt"),
        Column("graph_kind", "kind"),
        Column("target", "target"),
        Column("n_tokens", "tokens", "integer"),
        Column("n_features", "features", "integer"),
        Column("n_edges", "edges", "integer"),
        Column("replacement", "replacement"),
        Column("completeness", "completeness"),
        Column("error_share", "from errors", "percent"),
        Column("transport_share", "transport", "percent"),
        Column("conservation_residual", "residual"),
        Column("balanced", "balanced"),
        *interval("pearson", "Pearson"),
        Column("pearson_control", "control"),
        Column("seconds", "seconds"),
    ),
    link=Link("graphs", {"prompt": "prompt", "graph_kind": "graph_kind"}),
)


def draw_checks(rows: pl.DataFrame) -> None:
    """Numbers of the chosen graph."""
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
