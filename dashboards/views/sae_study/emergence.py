"""Panels of the page ``sae_study``: when features emerge in training, and what becomes of them."""

from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from ato.sae_studies.colours import ARCHITECTURES, OTHERS
from dashboards.ui.charts import CATEGORIES, THOUSANDS, coloured, number
from dashboards.ui.declared import ROWS, Column, Panel, names
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.sae_study.about import NOT_LOOKED_AT

SHOWN = 200
"""Features in the table of fates."""
EVENTS = {"emerged": CATEGORIES[0], "born": CATEGORIES[2], "died": CATEGORIES[5]}

CURVE = """select
    label, architecture, d_sae, k, step, tokens, emerged_share, mean_final_cosine, dead_share, high_frequency_share, fvu,
    l0, n_tokens, sae
from emergence_curve
where collection = $collection and sae in (
    select sae from latest_sae_study
    where collection = $collection and layer = $layer
        and site = $site and target_site is not distinct from $target_site
)
order by label, sae, step"""

EVENTS_BY_STEP = """select step, tokens, event, n
from (
    unpivot (
        select step, tokens, n_emerged as emerged, n_born as born, n_died as died
        from emergence_curve
        where collection = $collection and sae = $sae
    ) on emerged, born, died into name event value n
)
order by step, list_position(['emerged', 'born', 'died'], event)"""

OF_SAES = (
    Column("label", "SAE"),
    Column("n_features", "features", "integer"),
    Column("median_emerged_tokens", "tokens until half emerged", "integer"),
    Column("n_never_born", "never fire", "integer"),
    Column("n_died", "died", "integer"),
    Column("n_split", "split", "integer"),
    Column("n_split_sources", "from", "integer"),
    Column("mean_drift", "drift"),
    Column("mean_first_cosine", "cosine, first to final"),
    Column("mean_first_jaccard", "same tokens, first to final"),
    Column("mean_token_entropy_first", "token entropy at birth"),
    Column("mean_token_entropy", "in the end"),
    Column("mean_entropy_change", "change", "signed"),
    Column("n_entropy_change", "features with both", "integer"),
    Column("mean_stratum_entropy", "stratum entropy"),
    Column("sae", "key"),
)
SUMMARY = f"""select {names(OF_SAES)}
from emergence_summary
where collection = $collection and sae in (
    select sae from latest_sae_study
    where collection = $collection and layer = $layer
        and site = $site and target_site is not distinct from $target_site
)
order by architecture, d_sae, k, seed, label, sae"""

OF_FEATURES = (
    Column("feature_id", "feature"),
    Column("tokens", "fires most on", "list"),
    Column("emerged_step", "emerged"),
    Column("born_step", "born"),
    Column("died_step", "died"),
    Column("split_from", "split from"),
    Column("drift", "drift"),
    Column("first_cosine", "cosine, first to final"),
    Column("first_jaccard", "same tokens, first to final"),
    Column("token_entropy_first", "token entropy at birth"),
    Column("token_entropy", "in the end"),
    Column("stratum_entropy", "stratum entropy"),
)
FATES = f"""select {names(OF_FEATURES)}
from feature_emergence
left join (select collection, sae, feature_id, tokens[:6] as tokens from feature_map) using (collection, sae, feature_id)
where collection = $collection and sae = $sae
order by split_from nulls last, drift desc nulls last, feature_id
limit {SHOWN}"""


def emergence(about: dict[str, Any]) -> None:
    """Share of features that have emerged, over the tokens of training."""
    draw_panel(EMERGENCE, _curve, **about)


def _curve(rows: pl.DataFrame) -> None:
    # Below the first tokens counted the axis is linear: the first snapshot is of none.
    first = next(iter(rows.filter(pl.col("tokens") > 0)["tokens"].sort().to_list()), 1)
    draw_rows(replace(EMERGENCE, chart=_chart(first)), rows)


def _chart(first: int = 1000) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "tokens:Q",
            title="tokens",
            scale=alt.Scale(type="symlog", constant=first),
            axis=alt.Axis(labelExpr=THOUSANDS, tickCount=6, labelOverlap="greedy", labelSeparation=8),
        ),
        y=alt.Y("emerged_share:Q", title="emerged", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=coloured("architecture", ARCHITECTURES, "architecture", OTHERS),
        detail=alt.Detail("sae:N"),
        tooltip=[
            alt.Tooltip("label:N"),
            number("tokens", "tokens", ",d"),
            number("step", "step", ",d"),
            number("emerged_share", "emerged", ".1%"),
            number("mean_final_cosine", "mean cosine to the final rows"),
            number("dead_share", "dead", ".1%"),
            number("high_frequency_share", "high frequency", ".1%"),
            number("fvu", "FVU"),
            number("l0", "L0", ".1f"),
        ],
    )
    # Layers of their own: Vega-Lite leaves the lines of a legend of dashes out where points lie over the line.
    chart = alt.layer(
        base.mark_line(opacity=0.85).encode(strokeDash=alt.StrokeDash("k:N", title="k")),
        base.mark_point(filled=True, size=25, opacity=1),
    )
    return chart.properties(height=340)


def events(about: dict[str, Any]) -> None:
    """Features of the chosen SAE that emerge, are born and die at each snapshot."""
    draw_panel(EMERGED_BORN_DIED, **about)


def _events() -> alt.Chart:
    bars = (
        alt.Chart(ROWS)
        .mark_bar()
        .encode(
            x=alt.X("step:O", title="step", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("event:N", sort=list(EVENTS)),
            y=alt.Y("n:Q", title="features", axis=alt.Axis(tickMinStep=1)),
            color=coloured("event", EVENTS, "event"),
            tooltip=[
                number("step", "step", ",d"),
                number("tokens", "tokens", ",d"),
                alt.Tooltip("event:N"),
                number("n", "features", ",d"),
            ],
        )
    )
    return bars.properties(height=340)


def summary(about: dict[str, Any]) -> None:
    """What became of the features, one row an SAE."""
    draw_panel(WHAT_BECAME, **about)


def fates(about: dict[str, Any]) -> None:
    """Features of the chosen SAE that were split or have drifted."""
    draw_panel(SPLIT_AND_DRIFTED, **about)


EMERGENCE = Panel(
    "Emergence",
    CURVE,
    note="Share of features whose decoder row stays close to its final direction from here on (cosine of at least "
    "`sae_study.looking.emerged_cosine`). A point is a snapshot; the last is the finished SAE, in which each has emerged.",
    empty=NOT_LOOKED_AT,
    view="chart",
    chart=_chart(),
    alt="Share of features that have emerged, over training",
    wide=False,
)

EMERGED_BORN_DIED = Panel(
    "Emerged, born, died",
    EVENTS_BY_STEP,
    note="Features of the SAE at each snapshot: emerged for good; fire on held-out text for the first time; never fire "
    "again.",
    empty=NOT_LOOKED_AT,
    view="chart",
    chart=_events(),
    alt="Features that emerge, are born and die at each snapshot",
    wide=False,
)

WHAT_BECAME = Panel(
    "What became of features",
    SUMMARY,
    note="Split: features that share the nearest feature of the first snapshot with others. Drift: 1 - share of tokens on "
    "which a feature fires both when it emerges and in the end. Entropy of the token ids that it fires on, in nats, when "
    "it is born and in the end; a decrease means specialisation.",
    empty=NOT_LOOKED_AT,
    columns=OF_SAES,
    wide=False,
)

SPLIT_AND_DRIFTED = Panel(
    "Split and drifted features",
    FATES,
    note=f"Features with a common origin first, then those whose tokens changed most since they emerged; {SHOWN} at most.",
    empty=NOT_LOOKED_AT,
    columns=OF_FEATURES,
    wide=False,
)
