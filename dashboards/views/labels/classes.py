"""Panels of the page ``labels``: into which classes judges put features, and how far they agree."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.tables import score, table

EMPTY = "Nothing classified yet: run `ato run label --set label.label_space=feature-categories`."

PROPERTIES = """select distinct space || ': ' || property as shown
from feature_labels
where collection = $collection
order by shown"""

CLASSES = """with latest as (
    select collection, labelling from latest_labellings
    where is_latest
)

select judge, coalesce(value, 'none') as class, count(*) as n_features, any_value(reason) as reason
from feature_labels
semi join latest using (collection, labelling)
where collection = $collection and space || ': ' || property = $shown and ($layer is null or layer = $layer)
group by judge, value
order by judge, n_features desc, class"""

AGREEMENT = """select judge, other_judge, layer, space, property, n, agreement, kappa, kappa_low, kappa_high, reason, sae
from label_agreement
where collection = $collection and ($layer is null or layer = $layer)
order by layer, sae, space, property, judge, other_judge, comparison"""


def classes(about: dict[str, Any]) -> None:
    """Features in each class, by judge, for one property of a label space."""
    properties = ask(filled(PROPERTIES, collection=about["collection"]))["shown"].to_list()
    shown = choose("Property", "property", properties) if properties else None
    panel(
        "Classes",
        filled(CLASSES, **about, shown=shown),
        _classes,
        note="Features of the latest labelling of each judge by the class it chose; `none`: it gave no class.",
        empty=EMPTY,
    )


def _classes(rows: pl.DataFrame) -> None:
    judges = rows["judge"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(rows, height=alt.Step(16))
        .mark_bar()
        .encode(
            x=alt.X("n_features:Q", title="features"),
            y=alt.Y("class:N", title=None, sort="-x"),
            yOffset=alt.YOffset("judge:N", sort=judges),
            color=alt.Color(
                "judge:N",
                scale=alt.Scale(domain=judges, range=list(CATEGORIES)),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=["judge:N", "class:N", alt.Tooltip("n_features:Q", title="features"), "reason:N"],
        )
    )
    draw_chart(chart, alt="Bars: features in each class, by judge")


def agreement(about: dict[str, Any]) -> None:
    """Agreement and Cohen's kappa of two judges on the same features."""
    panel(
        "Agreement between judges",
        filled(AGREEMENT, **about),
        _agreement,
        note="Of the features that both judges put into a class: share with the same class, and Cohen's kappa, the agreement beyond "
        "that of judges who guess at their own rates (0), with its 95 % interval (`from`, `to`).",
        empty="No two judges classified the same features: set `label.label_space` and `label.second_judge`, then `ato run label`.",
    )


def _agreement(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "other_judge": "other judge",
            "n": st.column_config.NumberColumn("features", format="%d"),
            "agreement": st.column_config.NumberColumn("agreement", format="percent"),
            "kappa": score("kappa"),
            "kappa_low": score("from"),
            "kappa_high": score("to"),
            "sae": "SAE",
        },
    )
