"""Panel of the page ``entities``: what steering and ablation change, beside random features."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose, spaced
from dashboards.ui.chart_theme import fitting_columns
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ONE, ROWS, Panel
from dashboards.ui.declared_panel import draw_panel, of_rows
from dashboards.ui.drawing import draw_chart
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
TEXT = "text"
"""In place of a class of entities: sequences of ordinary text."""
DRAWN = ("change", "change_low", "change_high", "control_low", "control_high")
FEWEST_DRAWS = 19
"""With fewer random draws no change can be told from theirs: p is above 0.05 whatever comes out."""

DONE = """select outcome
from entity_intervention_summary
where collection = $collection and change is not null
group by outcome
order by list_position(['correct', 'wrong', 'abstain', 'self_report', 'attention', 'kl'], outcome)"""

EFFECTS = """select
    intervention || ' ' || direction || coalesce(': layer ' || layer || ', feature ' || feature_id, '')
        || if(position != '' and min(nullif(position, '')) over () != max(position) over (), ' at ' || position, '') as edit,
    label, intervention, direction, layer, feature_id, position, strength, outcome, n_entities, unedited, change, change_low, change_high,
    n_draws, control_mean, control_sd, control_low, control_high, p_control, beyond_controls, is_damage,
    sae, entity_set
from entity_intervention_summary
where collection = $collection and outcome = $outcome
order by label, intervention, direction, position"""


def _chart(title: str, scale: alt.Scale, **more: Any) -> alt.LayerChart | alt.FacetChart:
    x = partial(alt.X, title=title, scale=scale, axis=alt.Axis(titleAnchor="end"))  # beside long labels little is left
    base = (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.change)")
        .encode(
            y=alt.Y(
                "edit:N",
                title=None,
                sort=None,
                axis=alt.Axis(labelLimit=300, labelExpr="split(datum.label, ': ')", labelOffset=-6),
            ),
            tooltip=[
                alt.Tooltip("edit:N"),
                number("change", "change"),
                number("change_low", "95 % from"),
                number("change_high", "to"),
                number("unedited", "unedited"),
                number("strength", "strength", ".2f"),
                number("control_mean", "controls, mean"),
                number("control_sd", "controls, sd"),
                number("n_draws", "draws", "d"),
                number("p_control", "p"),
                number("n_entities", "entities (KL: sequences)", ",d"),
                alt.Tooltip("position:N"),
            ],
            **more,
        )
    )
    colour = coloured("label", LABELS, "label")
    point = base.encode(
        color=colour.legend(orient="top", title=None, columns=fitting_columns(90)) if more else colour.legend(None)
    )
    return alt.layer(
        alt.Chart(ONE).mark_rule(color="#888888").encode(x=alt.XDatum(0)),
        base.mark_bar(color="#999999", opacity=0.35, size=18).encode(x=x("control_low:Q"), x2=alt.X2("control_high:Q")),
        point.mark_rule(strokeWidth=2).encode(x=x("change_low:Q"), x2=alt.X2("change_high:Q")),
        point.mark_point(filled=True, size=80, opacity=1).encode(x=x("change:Q")),
        data=ROWS,
    ).properties(height=alt.Step(38))


BESIDE_CONTROLS = Panel(
    "Interventions beside controls",
    EFFECTS,
    note="The top-ranked feature for known or unknown is steered (added, in units of the residual's norm), "
    "ablated, or removed from the weights (orthogonalise). Mean change on test entities against the same entities "
    "unedited, with paired 95 % intervals by entity; strengths were chosen on validation. Grey band: random features of "
    "the same layer, nearest in firing rate and decoder norm, mean of the draws and two of their standard deviations either way; p: "
    "(1 + draws that change as much) / (1 + draws). Fewer right answers together with more withheld ones are damage, "
    "not control.",
    empty=EMPTY,
    view="chart",
    chart=_chart("change", alt.Scale(), yOffset=alt.YOffset("label:N")),
    alt="Change of the outcome by intervention and class, beside random features",
)


def interventions(collection: str) -> None:
    """Change of one outcome under each intervention, for known and for unknown entities."""
    done = ask(filled(DONE, collection=collection))["outcome"].to_list()
    outcome = choose(
        "Outcome",
        "outcome",
        [name for name in OUTCOMES if name in done],
        shown=lambda name: "KL" if name == "kl" else spaced(name),
        widget="segmented_control",
    )
    draw_panel(BESIDE_CONTROLS, partial(_draw_effects, str(outcome)), collection=collection, outcome=outcome)


def _draw_effects(outcome: str, rows: pl.DataFrame) -> None:
    title = f"change of {OUTCOMES[outcome]}"
    damage = rows.filter(pl.col("is_damage"))
    rows = rows.filter(pl.col("change").is_not_null())
    if rows.is_empty():
        st.info("Not measured.")
        return
    labels = rows["label"].unique(maintain_order=True).to_list()
    drawn = [value for name in DRAWN for value in rows[name].drop_nulls()]
    ends = (min(0.0, *drawn), max(0.0, *drawn))  # the same of both classes
    scale = alt.Scale(domain=list(ends), nice=True) if ends[0] < ends[1] else alt.Scale()
    for label, column in zip(labels, st.columns(len(labels))):
        column.markdown("ordinary text" if label == TEXT else f"**{label}** entities")
        with column:
            draw_chart(
                of_rows(_chart(title, scale), rows.filter(pl.col("label") == label)),
                alt=f"{title}, {label}, by intervention",
            )
    entities = rows.filter(pl.col("label") != TEXT)
    if not entities.is_empty():
        n, draws = max(entities["n_entities"].to_list()), max(entities["n_draws"].to_list())
        few = f": too few to tell a change from theirs, which takes {FEWEST_DRAWS}" if draws < FEWEST_DRAWS else ""
        where = ", ".join(spaced(place) for place in entities["position"].unique(maintain_order=True) if place)
        st.caption(
            f"Up to {n:,} test entities a class of `{entities['entity_set'][0]}`; {draws:,} random draws{few}; "
            f"edited at {where or 'no position'}."
        )
    if not damage.is_empty():
        told = "; ".join(f"{row['edit']} on {row['label']} entities" for row in damage.iter_rows(named=True))
        st.warning(f"Damage (fewer right answers and more withheld ones): {told}.")
