"""Graphs of prompts: what their sums, ablations and scores say, and how much of them is plain transport."""

from dataclasses import replace
from typing import Any

from tasks.report.graph_picture import FEATURES, draw, edges_sql
from tasks.report.numbers import extent, number, with_interval
from tasks.report.overview import html_table
from tasks.report.panels import Panel, Rows, Scope

SHOWN = 20
"""Prompts in the table at most; the SQL gives all."""


def panels(scope: Scope) -> list[Panel]:
    """The graphs in a table, the first of them as a picture; nothing where none was made."""
    sql = f"""select graph_set, prompt, graph_kind, coalesce(target_token, likeliest_token) as target, n_tokens, n_features, n_edges,
    replacement, completeness, transport_share, precision, conservation_residual, balanced, n_ablated, pearson, pearson_low, pearson_high,
    pearson_control
from graph_summary
where {scope.of_collection} and graph_kind = 'attribution'
order by replacement desc nulls last, prompt"""
    rows = scope.ask(sql)
    return [_table(sql, rows), *_picture(scope, rows[0])] if rows else []


def _table(sql: str, rows: Rows) -> Panel:
    columns = ("prompt", "target", "features", "edges", "replacement", "completeness", "transport", "largest residual")
    lines = [
        [
            r["prompt"],
            r["target"] or "–",
            f"{r['n_features']:,}",
            f"{r['n_edges']:,}",
            number(r["replacement"]),
            number(r["completeness"]),
            "–" if r["transport_share"] is None else f"{r['transport_share']:.0%}",
            "–" if r["conservation_residual"] is None else f"{r['conservation_residual']:.0e}",
            with_interval(r, "pearson"),
            number(r["pearson_control"]),
        ]
        for r in rows[:SHOWN]
    ]
    caption = (
        "Attribution graphs of the locally linear model. Replacement and completeness: how much of the influence is not from what SAEs "
        "leave out. Transport: share of the compared absolute effect between features that operators carry. Largest residual: gap "
        "between the sum of a node's edges and its value. Ablation: Pearson correlation of a random sample of edges with ablations of "
        "their sources in the real model, with its 95 % interval; control: the same ablations with other edges into the same targets."
    )
    more = f" The first {SHOWN} of {len(rows)} by replacement." if len(rows) > SHOWN else ""
    n = f"{len(rows):,} prompts of {extent(rows, 'n_tokens')} tokens, {extent(rows, 'n_ablated')} edges of each ablated"
    panel = Panel("graphs", "Graphs of prompts", sql, rows, caption + more, n, "Table of the graphs of prompts.")
    return replace(panel, body=html_table((*columns, "ablation", "control"), lines))


def _picture(scope: Scope, best: dict[str, Any]) -> list[Panel]:
    """The graph with the highest replacement score; nothing if its features have no edges."""
    sql = edges_sql(best["graph_set"])
    rows = scope.ask(sql)
    if not rows:
        return []
    title = f"Attribution and transport: {best['prompt']}"
    caption = (
        f"The {FEATURES} most influential features of each layer, of the prompt with the highest replacement score. Blue adds, orange "
        "takes away; width: share of all that goes into the target. A line that is missing on the right is not carried by operators."
    )
    alt = "Two drawings of the same features with their edges: by attribution and by transport."
    return [Panel("graph-picture", title, sql, rows, caption, f"{len(rows):,} edges", alt, draw=draw)]
