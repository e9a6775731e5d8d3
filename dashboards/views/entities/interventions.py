"""Panel of the page ``entities``: what steering and ablation change, beside random features."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import coloured, number
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.entities.counts import EMPTY, LABELS

OUTCOMES = {
    "correct": "share of right answers",
    "wrong": "share of wrong answers",
    "abstain": "share of withheld answers",
    "self_report": "logit of Yes minus No to knowing it",
    "attention": "attention to the entity (share)",
    "kl": "KL on ordinary text (nats per token)",
}
"""Outcome as the tables have it -> name and unit."""

DONE = "select distinct outcome from entity_intervention_summary where collection = $collection"

EFFECTS = """select
    intervention || ' ' || direction || if(position = '', '', ' at ' || position) as edit,
    label, intervention, direction, position, strength, outcome, n_entities, unedited, change, change_low, change_high,
    n_draws, control_mean, control_sd, control_low, control_high, p_control, beyond_controls, is_damage
from entity_intervention_summary
where collection = $collection and outcome = $outcome
order by label, edit"""


def interventions(collection: str) -> None:
    """Change of one outcome under each intervention, for known and for unknown entities."""
    done = ask(filled(DONE, collection=collection))["outcome"].to_list()
    outcome = choose("Outcome", "outcome", [name for name in OUTCOMES if name in done], widget="segmented_control")
    panel(
        "Interventions beside controls",
        filled(EFFECTS, collection=collection, outcome=outcome),
        partial(_effects, str(outcome)),
        empty=EMPTY,
        note="Mean change on test entities against the same entities unedited, with paired 95 % intervals by entity; "
        "strengths were chosen on validation. Grey band: random features of equal layer, firing rate and decoder norm, "
        "mean of the draws and two of their standard deviations either way; p: share of draws that change as much. Fewer "
        "right answers together with more withheld ones are damage, not control.",
    )


def _effects(outcome: str, rows: pl.DataFrame) -> None:
    title = f"change of {OUTCOMES[outcome]}"
    damage = rows.filter(pl.col("is_damage"))
    labels = rows["label"].unique(maintain_order=True).to_list()
    for label, column in zip(labels, st.columns(len(labels))):
        column.markdown(f"**{label}** entities")
        column.altair_chart(
            _chart(rows.filter(pl.col("label") == label), title), alt=f"{title} of {label} entities by intervention"
        )
    if not damage.is_empty():
        told = "; ".join(f"{row['edit']} on {row['label']} entities" for row in damage.iter_rows(named=True))
        st.warning(f"Damage (fewer right answers and more withheld ones): {told}.")


def _chart(rows: pl.DataFrame, title: str) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(rows).encode(
        y=alt.Y("edit:N", title=None, axis=alt.Axis(labelLimit=260)),
        tooltip=[
            "edit:N",
            number("change", "change"),
            number("change_low", "95 % from"),
            number("change_high", "to"),
            number("unedited", "unedited"),
            number("strength", "strength", ".2f"),
            number("control_mean", "controls, mean"),
            number("control_sd", "controls, sd"),
            number("n_draws", "draws", "d"),
            number("p_control", "p"),
            number("n_entities", "entities", ",d"),
        ],
    )
    labels = {label: LABELS[label] for label in rows["label"].unique() if label in LABELS}
    point = base.encode(color=coloured("label", labels, "label").legend(None))
    return alt.layer(
        alt.Chart(rows.head(1)).mark_rule(color="#888888").encode(x=alt.datum(0)),
        base.mark_bar(color="#999999", opacity=0.35, size=18).encode(
            x=alt.X("control_low:Q", title=title), x2="control_high:Q"
        ),
        point.mark_rule(strokeWidth=2).encode(x=alt.X("change_low:Q", title=title), x2="change_high:Q"),
        point.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("change:Q", title=title)),
    ).properties(height=alt.Step(38))
