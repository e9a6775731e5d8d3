"""Panels of the page ``labels``: into which classes judges put features, and how far they agree."""

from typing import Any

import altair as alt

from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES
from dashboards.ui.declared import ROWS, Column, Panel, interval, names
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.reading import ask, filled

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

AGREEING = (
    Column("judge", "judge"),
    Column("other_judge", "other judge"),
    Column("layer", "layer"),
    Column("space", "space"),
    Column("property", "property"),
    Column("n", "features", "integer"),
    Column("agreement", "agreement", "percent"),
    *interval("kappa", "kappa"),
    Column("reason", "reason"),
    Column("sae", "SAE"),
)
AGREEMENT = f"""select {names(AGREEING)}
from label_agreement
where collection = $collection and ($layer is null or layer = $layer)
order by layer, sae, space, property, judge, other_judge, comparison"""


def classes(about: dict[str, Any]) -> None:
    """Features in each class, by judge, for one property of a label space."""
    properties = ask(filled(PROPERTIES, collection=about["collection"]))["shown"].to_list()
    shown = choose("Property", "property", properties) if properties else None
    draw_panel(CLASSES_BY_JUDGE, **about, shown=shown)


def _classes() -> alt.Chart:
    return (
        alt.Chart(ROWS, height=alt.Step(16))
        .mark_bar()
        .encode(
            x=alt.X("n_features:Q", title="features", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("class:N", title=None, sort="-x"),
            yOffset=alt.YOffset("judge:N"),
            color=alt.Color(
                "judge:N",
                scale=alt.Scale(range=list(CATEGORIES)),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=[
                alt.Tooltip("judge:N"),
                alt.Tooltip("class:N"),
                alt.Tooltip("n_features:Q", title="features"),
                alt.Tooltip("reason:N"),
            ],
        )
    )


def agreement(about: dict[str, Any]) -> None:
    """Agreement and Cohen's kappa of two judges on the same features."""
    draw_panel(JUDGES_AGREE, **about)


CLASSES_BY_JUDGE = Panel(
    "Classes",
    CLASSES,
    note="Features of the latest labelling of each judge by the class it chose; `none`: it gave no class.",
    empty=EMPTY,
    view="chart",
    chart=_classes(),
    alt="Bars: features in each class, by judge",
    wide=False,
)

JUDGES_AGREE = Panel(
    "Agreement between judges",
    AGREEMENT,
    note="Of the features that both judges put into a class: share with the same class, and Cohen's kappa, the agreement beyond "
    "that of judges who guess at their own rates (0), with its 95 % interval.",
    empty="No two judges classified the same features: set `label.label_space` and `label.second_judge`, then `ato run label`.",
    columns=AGREEING,
    wide=False,
)
