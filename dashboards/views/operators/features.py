"""Panels of the page ``operators``: transport of the features of the SAE at the target layer."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import COUNTS, VERDICT_MEANINGS, VERDICTS, number, verdict_colours
from dashboards.ui.compact import compact
from dashboards.ui.drawing import draw_chart
from dashboards.ui.lists import choose_list
from dashboards.ui.navigation import go
from dashboards.ui.paged import PAGE_ROWS, paged
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.tables import headings, table

ANY = "any"
SHOWN = (ANY, *VERDICTS, "not scored")
"""Choices of the table: which verdict."""
WHICH = ("all", "selected")
LIMITS = (
    "Limits: the verdict is about one linear map of the residual at the source position, fitted on this collection's "
    "train text. Computed means that this map does not predict the feature: a nonlinear path, another position or too "
    "little train text look the same; the ceiling says how much any combination of the pair's maps predicts."
)

ORDERS = {
    "feature_id": "feature",
    "verdict": "verdict",
    "r2": "r2",
    "r2_low": "r2, lower end of the interval",
    "r2_high": "r2, upper end of the interval",
    "ceiling": "ceiling",
    "skill": "skill",
    "n_active": "active test tokens",
    "n_documents": "documents",
    "about": "about",
}
"""Column by which the table can be sorted -> its name in the field."""
NOT_EVALUATED = "No features evaluated for this operator: run `ato run evaluate` (the target layer needs an SAE)."


JUDGED = """select sae, evaluation
from latest_evaluations
where kind = 'feature_transport' and collection = $collection and operator = $operator and is_latest
order by sae"""


def features(**chosen: Any) -> None:
    """Verdicts, r2 against activation rate, and a table of features, for one SAE at the target layer."""
    judged = dict(ask(filled(JUDGED, **chosen)).iter_rows())
    if not judged:
        st.info(NOT_EVALUATED)
        return
    sae = next(iter(judged)) if len(judged) == 1 else choose("SAE", "sae", list(judged))
    chosen = chosen | {"sae": sae, "evaluation": judged[sae or ""]}
    panel(
        "Verdicts",
        filled(VERDICT_COUNTS, **chosen),
        _verdicts,
        empty=NOT_EVALUATED,
        note=f"Features of {sae}. {VERDICT_MEANINGS} Not scored: active on too few test tokens. {LIMITS}",
    )
    _features(chosen)
    panel(
        "Verdicts beside the baselines",
        filled(BESIDE, **chosen),
        _beside,
        empty=NOT_EVALUATED,
        note="The same features by every operator of the pair, with 95 % intervals by test document. `identity`: the source "
        "residual itself; `mean`: the mean of the train tokens; `permuted`: fitted with the documents shuffled, the "
        "permutation null. A verdict that a baseline reaches too is none of the operator's. Expected wrong: share of the "
        "features with the verdict whose r2 is expected to lie beyond its threshold only by chance (q-value of the least "
        "certain one).",
    )
    panel(
        "r2 against activation rate",
        filled(HISTOGRAM, **chosen),
        _histogram,
        empty="No feature is active often enough to be scored.",
        note="Each tile counts features by r2 and activation rate (share of test tokens, logarithmic). "
        "Features with r2 below -1 are in the lowest row.",
    )


VERDICT_COUNTS = """with limits as (
    select
        (settings ->> 'transported_above')::double as transported_above,
        (settings ->> 'computed_below')::double as computed_below,
        (settings ->> 'min_active')::bigint as min_active
    from stage_runs
    where stage = 'evaluate' and collection = $collection and key = $evaluation
    limit 1
)

select if(r2 is null, 'not scored', verdict) as verdict, count(*) as n_features,
    count(*) / sum(count(*)) over () as share, any_value(transported_above) as transported_above,
    any_value(computed_below) as computed_below, any_value(min_active) as min_active
from feature_transport left join limits on true
where collection = $collection and operator = $operator and sae = $sae and evaluation = $evaluation
group by 1
order by n_features desc"""


def _verdicts(rows: pl.DataFrame) -> None:
    order = [*VERDICTS, "not scored"]
    found = sorted(rows.iter_rows(named=True), key=lambda row: order.index(row["verdict"]))
    with st.container(horizontal=True):
        for row in found:
            st.metric(f"{row['verdict']}, {row['share']:.1%}", f"{row['n_features']:,}", width=180)
    limits = found[0]
    if limits["transported_above"] is not None:
        st.caption(
            f"Thresholds of this evaluation: above {limits['transported_above']:g} transported, below "
            f"{limits['computed_below']:g} computed; scored from {limits['min_active']:,} active test tokens on."
        )


BESIDE = """select if(count(*) over (partition by method) > 1, operator, method) as name, method,
    n_features_scored, mean_r2, mean_r2_low, mean_r2_high, mean_ceiling, mean_skill,
    share_transported, share_transported_low, share_transported_high, share_undetermined,
    share_computed, share_computed_low, share_computed_high, expected_wrong_transported, expected_wrong_computed
from transport_map
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
    and position_policy = $position_policy and sae = $sae and is_latest and n_features_scored > 0
order by mean_r2 desc nulls last, name"""


def _beside(rows: pl.DataFrame) -> None:
    """Shares of the verdicts by operator, and the numbers with their intervals."""
    shares = alt.Chart(rows).transform_fold([f"share_{name}" for name in VERDICTS], ["part", "share"])
    named = shares.transform_calculate(
        verdict="substring(datum.part, 6)", place=f"indexof({list(VERDICTS)}, substring(datum.part, 6))"
    )
    bars = named.mark_bar().encode(
        y=alt.Y("name:N", title=None, sort=rows["name"].to_list(), axis=alt.Axis(labelLimit=190)),
        x=alt.X(
            "share:Q",
            title="share of scored features",
            axis=alt.Axis(format="%", tickCount=5),
            scale=alt.Scale(domain=[0, 1]),
        ),
        color=verdict_colours(),
        order=alt.Order("place:Q"),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("verdict:N"),
            number("share", "share", ".1%"),
            number("n_features_scored", "n", ",d"),
        ],
    )
    draw_chart(bars.properties(height=alt.Step(26)), alt="Shares of the verdicts by operator of the pair")
    parts = [name for name in rows.columns if name.startswith(("share_", "expected_wrong_"))]
    means = [name for name in rows.columns if name.startswith("mean_")]
    counts = headings(["n_features_scored"], "localized")
    table(rows.drop("method"), counts | headings(parts, "percent") | headings(means, "%.3f"))


HISTOGRAM = """with scored as (
    select verdict, floor(20 * least(greatest(r2, -1), 0.999)) as r2_bin, floor(8 * log10(activation_rate)) as rate_bin
    from feature_transport
    where collection = $collection and operator = $operator and sae = $sae and evaluation = $evaluation
        and r2 is not null and activation_rate > 0
)
select 10 ** (rate_bin / 8) as rate_from, 10 ** ((rate_bin + 1) / 8) as rate_to, r2_bin / 20 as r2_from, (r2_bin + 1) / 20 as r2_to,
    count(*) as n_features, count(*) filter (where verdict = 'transported') as n_transported,
    count(*) filter (where verdict = 'computed') as n_computed
from scored
group by rate_bin, r2_bin
order by rate_bin, r2_bin"""


def _histogram(rows: pl.DataFrame) -> None:
    rate = alt.X("rate_from:Q", title="activation rate (share of test tokens)")
    count = alt.Color("n_features:Q", title="features", scale=COUNTS)
    chart = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=rate.scale(type="log", nice=False).axis(format="~g", labelOverlap="greedy", labelSeparation=50),
            x2=alt.X2("rate_to:Q"),
            y=alt.Y("r2_from:Q", title="r2 of the feature", scale=alt.Scale(domain=[-1, 1])),
            y2=alt.Y2("r2_to:Q"),
            color=count.legend(orient="top", gradientLength=180),
            tooltip=[
                number("n_features", "features", ",d"),
                number("n_transported", "transported", ",d"),
                number("n_computed", "computed", ",d"),
                number("r2_from", "r2 from", ".2f"),
                number("r2_to", "to", ".2f"),
                number("rate_from", "rate from", ".2~g"),
                number("rate_to", "to", ".2~g"),
            ],
        )
    )
    draw_chart(chart.properties(height=340), alt="Two-dimensional histogram of the features' r2 and activation rate")


FEATURES = """with scores as (
    select s.feature_id, s.selected, array_to_string(s.top_tokens[:2], ' ') as top_tokens
    from feature_scores as s semi join latest_evaluations as l
        on l.kind = 'feature_scores' and l.collection = s.collection and l.sae = s.sae and l.evaluation = s.scoring and l.is_latest
    where s.collection = $collection and s.sae = $sae
),
explained as (
    select feature_id, description
    from explanations
    where collection = $collection and sae = $sae
    qualify row_number() over (
        partition by feature_id order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
),
judged as (
    select *, if(r2 is null, 'not scored', verdict) as shown_verdict
    from feature_transport
    where collection = $collection and operator = $operator and sae = $sae and evaluation = $evaluation
)
select feature_id, f.shown_verdict as verdict, f.r2::float as r2, f.r2_low::float as r2_low, f.r2_high::float as r2_high,
    f.ceiling::float as ceiling, f.skill::float as skill, f.n_active::integer as n_active,
    f.n_documents::integer as n_documents, coalesce(e.description, s.top_tokens) as about
from judged as f left join scores as s using (feature_id) left join explained as e using (feature_id)
where (f.shown_verdict = $verdict or $verdict = 'any') and (s.selected or not $selected)"""
"""All features of one operator; half-size numbers, since an SAE has tens of thousands."""
OF_LIST = """
    and feature_id in (
        select feature_id from list_members where kind = 'feature' and collection = $collection and sae = $sae and list = $list
    )"""
BEST_FIRST = "\norder by f.r2 desc nulls last, feature_id"


def _features(chosen: dict[str, Any]) -> None:
    left, right = st.columns([3, 1])
    which = choose("Features", "features", WHICH, widget="segmented_control", where=left)
    list_ = choose_list("feature", where=right)
    sql = FEATURES + (OF_LIST if list_ else "") + BEST_FIRST
    only = which == "selected" and list_ is None  # a list is a selection of its own
    verdict = choose("Verdict", "verdict", SHOWN, widget="segmented_control")
    panel(
        "Features",
        filled(sql, **chosen, selected=only, verdict=verdict or ANY, list=list_),
        partial(_table, chosen["sae"]),
        empty="No feature of this SAE on the list has this verdict."
        if list_
        else "No such feature: choose another verdict or all features. `ato run features` selects features.",
        note=f"All rows, {PAGE_ROWS} a page; the export has all. Click a column's name to sort the page, tick a row to open it. "
        "r2 with its 95 % interval by document. "
        "Ceiling: r2 of the best linear combination of the pair's predictions, on the same tokens. Skill: 1 - squared error / "
        "squared error of the identity map. About: its explanation, else its promoted tokens.",
    )


def _table(sae: str, rows: pl.DataFrame) -> None:
    st.markdown(f"**{rows.height:,}** features")
    column = st.column_config.NumberColumn
    columns = {
        "feature_id": column("feature", format="%d", width=80),
        "verdict": st.column_config.TextColumn("verdict", width=110),
        "r2": column("r2", format="%.3f", width=80),
        "r2_low": column("r2, 95 % from", format="%.3f", width=100),
        "r2_high": column("to", format="%.3f", width=80),
        "ceiling": column("ceiling", format="%.3f", width=80),
        "skill": column("skill", format="%.3f", width=80),
        "n_active": column("active test tokens", format="localized", width=120),
        "n_documents": column("documents", format="localized", width=100),
        "about": st.column_config.TextColumn("about", width="large"),
    }
    paged(
        rows,
        "features of the operator",
        lambda number: go("features", sae=sae, feature_id=rows["feature_id"][number]),
        titles=ORDERS,
        sent=compact,
        placeholder="not scored",
        column_config=columns,
    )
