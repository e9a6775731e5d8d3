"""Panels of the page ``sae_study``: when features emerge in training, and what becomes of them."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.sae_studies.colours import architecture_colours
from dashboards.ui.charts import CATEGORIES, coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, table
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

SUMMARY = """select
    label, n_features, median_emerged_tokens, n_never_born, n_died, n_split, n_split_sources, mean_drift, mean_first_cosine,
    mean_first_jaccard, mean_token_entropy_first, mean_token_entropy, mean_entropy_change, n_entropy_change,
    mean_stratum_entropy, sae
from emergence_summary
where collection = $collection and sae in (
    select sae from latest_sae_study
    where collection = $collection and layer = $layer
        and site = $site and target_site is not distinct from $target_site
)
order by architecture, d_sae, k, seed, label, sae"""

FATES = """select
    e.feature_id, m.tokens[:6] as tokens, e.emerged_step, e.born_step, e.died_step, e.split_from, e.drift, e.first_cosine,
    e.first_jaccard, e.token_entropy_first, e.token_entropy, e.stratum_entropy
from feature_emergence as e
left join feature_map as m using (collection, sae, feature_id)
where e.collection = $collection and e.sae = $sae
order by e.split_from nulls last, e.drift desc nulls last, e.feature_id
limit $shown"""


def emergence(about: dict[str, Any]) -> None:
    """Share of features that have emerged, over the tokens of training."""
    panel(
        "Emergence",
        filled(CURVE, **about),
        _curve,
        empty=NOT_LOOKED_AT,
        note="Share of features whose decoder row stays close to its final direction from here on (cosine of at least "
        "`sae_study.looking.emerged_cosine`). A point is a snapshot; the last is the finished SAE, in which each has emerged.",
    )


def _curve(rows: pl.DataFrame) -> None:
    colours = architecture_colours(rows["architecture"].unique())
    # Below the first tokens counted the axis is linear: the first snapshot is of none.
    first = next(iter(rows.filter(pl.col("tokens") > 0)["tokens"].sort().to_list()), 1)
    line = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=25), opacity=0.85)
        .encode(
            x=alt.X(
                "tokens:Q",
                title="tokens",
                scale=alt.Scale(type="symlog", constant=first),
                axis=alt.Axis(format="~s", tickCount=6),
            ),
            y=alt.Y("emerged_share:Q", title="emerged", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=coloured("architecture", colours, "architecture").legend(orient="bottom"),
            strokeDash=alt.StrokeDash("k:N", title="k", legend=alt.Legend(orient="bottom")),
            detail="sae:N",
            tooltip=[
                "label:N",
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
    )
    draw_chart(line.properties(height=340), alt="Share of features that have emerged, over training")


def events(about: dict[str, Any]) -> None:
    """Features of the chosen SAE that emerge, are born and die at each snapshot."""
    panel(
        "Emerged, born, died",
        filled(EVENTS_BY_STEP, **about),
        _events,
        empty=NOT_LOOKED_AT,
        note="Features of the SAE at each snapshot: emerged for good; fire on held-out text for the first time; never fire "
        "again.",
    )


def _events(rows: pl.DataFrame) -> None:
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("step:O", title="step"),
            xOffset=alt.XOffset("event:N", sort=list(EVENTS)),
            y=alt.Y("n:Q", title="features", axis=alt.Axis(tickMinStep=1)),
            color=coloured("event", EVENTS, "event").legend(orient="bottom"),
            tooltip=[
                number("step", "step", ",d"),
                number("tokens", "tokens", ",d"),
                "event:N",
                number("n", "features", ",d"),
            ],
        )
    )
    draw_chart(bars.properties(height=340), alt="Features that emerge, are born and die at each snapshot")


def summary(about: dict[str, Any]) -> None:
    """What became of the features, one row an SAE."""
    panel(
        "What became of features",
        filled(SUMMARY, **about),
        _summary,
        empty=NOT_LOOKED_AT,
        note="Split: features that share the nearest feature of the first snapshot with others. Drift: 1 - share of tokens on "
        "which a feature fires both when it emerges and in the end. Entropy of the token ids that it fires on, in nats, when "
        "it is born and in the end; a decrease means specialisation.",
    )


def _summary(rows: pl.DataFrame) -> None:
    whole = partial(st.column_config.NumberColumn, format="localized")
    table(
        rows,
        {
            "label": st.column_config.TextColumn("SAE", pinned=True),
            "n_features": whole("features"),
            "median_emerged_tokens": whole("tokens until half emerged"),
            "n_never_born": whole("never fire"),
            "n_died": whole("died"),
            "n_split": whole("split"),
            "n_split_sources": whole("from"),
            "mean_drift": score("drift"),
            "mean_first_cosine": score("cosine, first to final"),
            "mean_first_jaccard": score("same tokens, first to final"),
            "mean_token_entropy_first": score("token entropy at birth"),
            "mean_token_entropy": score("in the end"),
            "mean_entropy_change": score("change"),
            "n_entropy_change": whole("features with both"),
            "mean_stratum_entropy": score("stratum entropy"),
        },
    )


def fates(about: dict[str, Any]) -> None:
    """Features of the chosen SAE that were split or have drifted."""
    panel(
        "Split and drifted features",
        filled(FATES, **about, shown=SHOWN),
        _fates,
        empty=NOT_LOOKED_AT,
        note=f"Features with a common origin first, then those whose tokens changed most since they emerged; {SHOWN} at most.",
    )


def _fates(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "tokens": st.column_config.ListColumn("fires most on"),
            "emerged_step": "emerged",
            "born_step": "born",
            "died_step": "died",
            "split_from": st.column_config.NumberColumn("split from", format="%d"),
            "drift": score("drift"),
            "first_cosine": score("cosine, first to final"),
            "first_jaccard": score("same tokens, first to final"),
            "token_entropy_first": score("token entropy at birth"),
            "token_entropy": score("in the end"),
            "stratum_entropy": score("stratum entropy"),
        },
    )
