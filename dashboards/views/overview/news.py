"""Panel of the page ``overview``: what this collection has that the one before had not, and numbers that moved."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.ui.tables import table
from dashboards.views.overview.pictures import WORDS

SHOWN = 200
"""Numbers in the table; the SQL page has all."""
_QUOTED = {name: words.replace("'", "''") for name, words in WORDS.items()}
_CASES = " ".join(f"when '{name}' then '{words}'" for name, words in _QUOTED.items())
SAID = f"case measure {_CASES} else replace(measure, '_', ' ') end"
"""A measure in the words of the pictures."""
NEWS = f"""with ordered as (
    select collection, lag(collection) over (order by created_at, collection) as previous
    from collections
),
before_it as (
    select c.collection as previous, c.model as previous_model, c.corpus as previous_corpus, c.created_at as previous_made_at
    from ordered as o
    inner join collections as c on c.collection = o.previous
    where o.collection = $collection
),
compared as (
    select
        coalesce(n.place, b.place) as place, coalesce(n.topic, b.topic) as topic, coalesce(n.measure, b.measure) as measure,
        coalesce(n.source_layer, b.source_layer) as source_layer, coalesce(n.target_layer, b.target_layer) as target_layer,
        coalesce(n.subject, b.subject) as subject,
        b.value as value_before, b.low as low_before, b.high as high_before, b.n as n_before, n.value, n.low, n.high, n.n,
        case
            when b.value is null then 'new'
            when n.value is null then 'not here'
            when n.low > b.high then 'higher'
            when n.high < b.low then 'lower'
            when n.value = b.value then 'the same'
            when n.low is null or b.low is null then 'other, without intervals'
            else 'within the intervals'
        end as state
    from (from findings where collection = $collection) as n
    full join (from findings where collection = (select previous from before_it)) as b
        on b.finding = n.finding and b.measure = n.measure and b.source_layer is not distinct from n.source_layer
        and b.target_layer is not distinct from n.target_layer and b.subject is not distinct from n.subject
),
counted as (
    select
        count(*) filter (where state in ('higher', 'lower')) as n_moved,
        count(*) filter (where state in ('the same', 'within the intervals')) as n_unmoved,
        string_agg(distinct topic, ', ') filter (where new_topic) as new_topics,
        string_agg(distinct topic, ', ') filter (where gone_topic) as gone_topics
    from (
        select topic, state, bool_and(state = 'new') over (partition by topic) as new_topic,
            bool_and(state = 'not here') over (partition by topic) as gone_topic
        from compared
    )
)
select state, topic, {SAID} as measure, source_layer, target_layer, subject, value_before, low_before, high_before, n_before,
    value, low, high, n, before_it.*, counted.*
from before_it
left join compared on true
left join counted on true
order by state in ('the same', 'within the intervals'), state not in ('higher', 'lower'), place, compared.measure, target_layer,
    source_layer, subject
limit {SHOWN}"""
OF_BOTH = (
    "previous",
    "previous_model",
    "previous_corpus",
    "previous_made_at",
    "n_moved",
    "n_unmoved",
    "new_topics",
    "gone_topics",
)
"""Columns about the two collections, which are the same in each row."""


def news(collection: str) -> None:
    """What is new since the collection before."""
    panel(
        "New since the last collection",
        filled(NEWS, collection=collection),
        _news,
        note="The numbers of the findings beside those of the collection that was made before this one. Higher, lower: the two 95 % "
        "intervals do not overlap. A number without an interval is only said to be another.",
        empty="This is the first collection: there is none to compare it with.",
    )


def _news(rows: pl.DataFrame) -> None:
    about = rows.row(0, named=True)
    n_moved = about["n_moved"]
    said = [
        f"Before: {plain(about['previous_model'])} on {plain(about['previous_corpus'])}, {about['previous_made_at']:%d %B %Y} "
        f"(`{about['previous']}`).",
        f"New here: {about['new_topics']}." if about["new_topics"] else "",
        f"Not here: {about['gone_topics']}." if about["gone_topics"] else "",
        f"{n_moved:,} number{'s' * (n_moved != 1)} moved; within their intervals: {about['n_unmoved']:,}.",
    ]
    st.markdown(" ".join(filter(None, said)))
    score, count = (partial(st.column_config.NumberColumn, format=format) for format in ("%.3g", "localized"))
    table(
        rows.drop(*OF_BOTH),
        {
            "subject": "of",
            "value_before": score("before"),
            "low_before": score("95 % from"),
            "high_before": score("to"),
            "n_before": count("n before"),
            "value": score("here"),
            "low": score("95 % from "),
            "high": score("to "),
            "n": count("n"),
        },
    )
