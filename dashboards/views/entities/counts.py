"""Panel of the page ``entities``: how many of each type are known, unknown, between or invented."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_rows
from dashboards.ui.plain import plain

EMPTY = "No entities yet: run `ato run entities`."
LABELS = {"known": "#0072B2", "between": "#999999", "unknown": "#E69F00", "invented": "#CC79A7", "not asked": "#56B4E9"}
"""Colour of each label on this page."""

COUNTS = """select
    entity_type, replace(coalesce(label, 'not_asked'), '_', ' ') as label,
    coalesce(list_position(['known', 'between', 'unknown', 'invented'], entity_knowledge.label), 5) as place,
    count(*) as n_entities,
    count(*) filter (where split = 'train') as n_train,
    count(*) filter (where split = 'validation') as n_validation,
    count(*) filter (where split = 'test') as n_test,
    avg(share_correct) as share_correct, avg(share_abstain) as share_abstain, avg(confidence) as confidence,
    avg(n_tokens) as n_tokens, median(popularity) as popularity, any_value(rule) as rule,
    any_value(entity_set) as entity_set
from entity_knowledge
where collection = $collection
group by all
order by entity_type, place"""


def classes(about: dict[str, object]) -> tuple[str, str]:
    """The two classes of the chosen contrast: known and unknown, or correct and wrong."""
    first, _, second = str(about["contrast"] or "known_unknown").partition("_")
    return first, second


def _counts() -> alt.Chart:
    bars = (
        alt.Chart(ROWS)
        .mark_bar()
        .encode(
            y=alt.Y("entity_type:N", title=None, sort=None),
            x=alt.X("n_entities:Q", title="entities", axis=alt.Axis(tickMinStep=1)),
            color=coloured("label", LABELS, "label").legend(orient="top"),
            order=alt.Order("place:Q"),
            tooltip=[
                alt.Tooltip("entity_type:N", title="entity type"),
                alt.Tooltip("label:N"),
                number("n_entities", "entities", ",d"),
                number("n_train", "train", ",d"),
                number("n_validation", "validation", ",d"),
                number("n_test", "test", ",d"),
                number("share_correct", "right answers", ".1%"),
                number("share_abstain", "withheld answers", ".1%"),
                number("confidence", "nats per answer token", ".2f"),
                number("n_tokens", "tokens of the name", ".1f"),
            ],
        )
    )
    return bars.properties(height=alt.Step(38))


ENTITIES_BY_LABEL = Panel(
    "What the model knows",
    COUNTS,
    note="Entities of the most recently labelled set, by type and label, which follows from the model's graded "
    "answers; invented ones cannot be known, and entities without a recorded answer were not asked about. Hover for "
    "the shares of right and withheld answers, the mean number of tokens of the names and the counts of each split: "
    "features are chosen on train, strengths on validation, and what is published is from test.",
    empty=EMPTY,
    view="chart",
    chart=_counts(),
    alt="Entities of each type: known, between, unknown, invented",
)


def draw_counts(rows: pl.DataFrame) -> None:
    """The chart, and the rule by which entities are labelled."""
    draw_rows(ENTITIES_BY_LABEL, rows)
    rules = rows["rule"].drop_nulls()
    if not rules.is_empty():
        st.caption(f"Rule: {plain(rules[0])}. Set: `{rows['entity_set'][0]}`.")
