"""Panel of the page ``operations``: what was made from what, and which of it is fresh, stale, failed or missing."""

from html import escape

import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

LINEAGE = """with shown as (
    from stage_lineage
    where collection = $collection
),
cost as (
    select stage, if(seconds is null, '', case
        when seconds < 120 then round(seconds)::int || ' s'
        when seconds < 7200 then round(seconds / 60)::int || ' min'
        else round(seconds / 3600, 1) || ' h'
    end || ', ' || formatReadableDecimalSize(bytes)) as took
    from shown
)
select s.stage, s.state, s.reason, s.made_by, c.took, s.seconds, s.cpu_seconds, s.bytes, i.input, i.n_runs, i.n_replaced, i.n_made_again
from shown as s
inner join cost as c using (stage)
left join stage_inputs as i on i.collection = $collection and i.stage = s.stage
order by s.place nulls last, s.stage, i.input"""
STATES = {"fresh": CATEGORIES[2], "stale": CATEGORIES[1], "failed": CATEGORIES[5], "missing": CATEGORIES[6]}
"""State of a stage -> its colour."""
LAST = ("evaluate", "causal")
"""Stages whose results reports are mostly about."""


def lineage(collection: str) -> None:
    """The stages as a graph."""
    panel(
        "Lineage",
        filled(LINEAGE, collection=collection),
        _lineage,
        note="An arrow leads from what is read to what reads it, with the number of runs; dashed: no run has read it yet. Green: "
        "fresh. Orange: stale, something that it read was made again, or with other settings, since. Red: failed its checks. Grey: "
        "missing, with the command that makes it. Times are wall seconds; runs that shared a pass share its time.",
    )


def _lineage(rows: pl.DataFrame) -> None:
    with st.container(width="stretch"):
        st.graphviz_chart(dot(rows), width="content", alt="Stages and what each reads, coloured by state")
    outdated = rows.filter(pl.col("state").is_in(["stale", "failed"])).unique("stage", maintain_order=True)
    for row in outdated.iter_rows(named=True):
        cure = f": run `{row['made_by']}`" if row["made_by"] else ""
        st.warning(f"**{row['stage']}** is {row['state']} ({row['reason']}){cure}")


def dot(rows: pl.DataFrame) -> str:
    """The graph in Graphviz's language.

    An arrow that others imply is left out where no run is behind it. The report reads every stage: only evaluations and what was
    made since it was drawn have an arrow to it.
    """
    edges = {(row["input"], row["stage"]) for row in rows.iter_rows(named=True) if row["input"] is not None}
    lines = [
        "digraph {",
        'bgcolor="transparent"; rankdir=LR; nodesep=0.18; ranksep=0.35;',
        'node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11, fontcolor="#111111", penwidth=0, margin="0.1,0.05"];',
        'edge [color="#888888", fontcolor="#888888", fontname="sans-serif", fontsize=9, arrowsize=0.6];',
    ]
    for row in rows.unique("stage", maintain_order=True).iter_rows(named=True):
        below = row["made_by"] if row["state"] == "missing" else row["took"]
        text = "<br/>".join([f"<b>{escape(row['stage'])}</b>", *([escape(below)] if below else [])])
        lines.append(f'"{row["stage"]}" [label=<{text}>, fillcolor="{STATES[row["state"]]}"];')
    for row in rows.filter(pl.col("input").is_not_null()).iter_rows(named=True):
        if row["n_runs"] == 0 and _implied(row["input"], row["stage"], edges):
            continue
        if row["stage"] == "report" and row["n_runs"] and row["input"] not in LAST and not row["n_made_again"]:
            continue
        outdated = row["n_replaced"] or row["n_made_again"]
        drawn = f'label="{row["n_runs"]}"' if row["n_runs"] else "style=dashed"
        drawn += f', color="{STATES["stale"]}", penwidth=2' if outdated else ""
        lines.append(f'"{row["input"]}" -> "{row["stage"]}" [{drawn}];')
    return "\n".join([*lines, "}"])


def _implied(source: str, target: str, edges: set[tuple[str, str]]) -> bool:
    """Whether another way leads from the source to the target."""
    reached, new = set[str](), {b for a, b in edges if a == source and b != target}
    while new:
        reached |= new
        new = {b for a, b in edges if a in new} - reached
    return target in reached
