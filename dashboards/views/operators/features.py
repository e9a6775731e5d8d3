"""Panels of the page ``operators``: transport of the features of the SAE at the target layer."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import VERDICT_MEANINGS, VERDICTS, number, verdict_name
from dashboards.ui.drawing import draw_chart
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled

ORDERS = {"best r2": "r2 desc nulls last", "worst r2": "r2 nulls last", "most active": "activation_rate desc"}
"""Order of the table of features -> SQL."""

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
        note=f"Features of {sae}. {VERDICT_MEANINGS} Not scored: active on too few test tokens.",
    )
    panel(
        "r2 against activation rate",
        filled(HISTOGRAM, **chosen),
        _histogram,
        empty="No feature is active often enough to be scored.",
        note="Each tile counts features by r2 and activation rate (share of test tokens, logarithmic). "
        "Features with r2 below -1 are in the lowest row.",
    )
    _features(chosen)


VERDICT_COUNTS = """select if(r2 is null, 'not scored', verdict) as verdict, count(*) as n_features,
    count(*) / sum(count(*)) over () as share
from feature_transport
where collection = $collection and operator = $operator and sae = $sae and evaluation = $evaluation
group by all
order by n_features desc"""


def _verdicts(rows: pl.DataFrame) -> None:
    order = [*VERDICTS, "not scored"]
    found = sorted(rows.iter_rows(named=True), key=lambda row: order.index(row["verdict"]))
    with st.container(horizontal=True):
        for row in found:
            st.metric(f"{verdict_name(row['verdict'])}, {row['share']:.1%}", f"{row['n_features']:,}", width=180)


HISTOGRAM = """with scored as (
    select verdict, floor(20 * least(greatest(r2, -1), 0.999)) as r2_bin, floor(8 * log10(activation_rate)) as rate_bin
    from feature_transport
    where collection = $collection and operator = $operator and sae = $sae and evaluation = $evaluation
        and r2 is not null and activation_rate > 0
)
select 10 ** (rate_bin / 8) as rate_from, 10 ** ((rate_bin + 1) / 8) as rate_to, r2_bin / 20 as r2_from, (r2_bin + 1) / 20 as r2_to,
    count(*) as n_features, count(*) filter (where verdict = 'transported') as n_transported,
    count(*) filter (where verdict = 'synthesised') as n_synthesised
from scored
group by rate_bin, r2_bin
order by rate_bin, r2_bin"""


def _histogram(rows: pl.DataFrame) -> None:
    rate = alt.X("rate_from:Q", title="activation rate (share of test tokens)")
    count = alt.Color("n_features:Q", title="features", scale=alt.Scale(type="log"))
    chart = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=rate.scale(type="log", nice=False).axis(format="~g"),
            x2="rate_to:Q",
            y=alt.Y("r2_from:Q", title="r2 of the feature", scale=alt.Scale(domain=[-1, 1])),
            y2="r2_to:Q",
            color=count.legend(orient="top", gradientLength=180),
            tooltip=[
                number("n_features", "features", ",d"),
                number("n_transported", "transported", ",d"),
                number("n_synthesised", "computed", ",d"),
                number("r2_from", "r2 from", ".2f"),
                number("r2_to", "to", ".2f"),
                number("rate_from", "rate from", ".2~g"),
                number("rate_to", "to", ".2~g"),
            ],
        )
    )
    draw_chart(chart.properties(height=340), alt="Two-dimensional histogram of the features' r2 and activation rate")


FEATURES = """with scores as (
    select s.feature_id, s.score, s.selected, array_to_string(s.top_tokens[:5], ' ') as top_tokens
    from feature_scores as s semi join latest_evaluations as l
        on l.kind = 'feature_scores' and l.collection = s.collection and l.sae = s.sae and l.evaluation = s.scoring and l.is_latest
    where s.collection = $collection and s.sae = $sae
),
explained as (
    select feature_id, description as explanation
    from explanations
    where collection = $collection and sae = $sae
    qualify row_number() over (
        partition by feature_id order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
)
select f.sae, feature_id, f.verdict, f.r2, f.r2_low, f.r2_high, f.skill, f.ceiling, f.activation_rate, f.n_active, f.n_documents,
    s.score, s.top_tokens, e.explanation
from feature_transport as f left join scores as s using (feature_id) left join explained as e using (feature_id)
where f.collection = $collection and f.operator = $operator and f.sae = $sae and f.evaluation = $evaluation
    and (s.selected or not $selected)"""


def _features(chosen: dict[str, Any]) -> None:
    left, right = st.columns(2)
    order = choose("Sort by", "order", list(ORDERS), widget="segmented_control", where=left) or next(iter(ORDERS))
    which = choose("Features", "features", ["selected", "all"], widget="segmented_control", where=right)
    panel(
        "Features",
        filled(FEATURES, **chosen, selected=which == "selected") + f"\norder by {ORDERS[order]}, feature_id\nlimit 25",
        _table,
        empty="No features of this SAE are selected: run `ato run features`, or show all.",
        note="Tick a row to open it. r2 with its 95 % interval by document. Skill: against the identity map. Ceiling: r2 "
        "of the best linear combination of predictions, on the same tokens.",
    )


def _table(rows: pl.DataFrame) -> None:
    decimals = dict.fromkeys(("r2", "r2_low", "r2_high", "skill", "ceiling", "score"), "%.3f") | {
        "activation_rate": "%.2e"
    }
    found = st.dataframe(
        rows.drop("sae"),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="features of the operator",
        column_config={name: st.column_config.NumberColumn(format=form) for name, form in decimals.items()},
    )
    if found["selection"]["rows"]:
        row = rows.row(found["selection"]["rows"][0], named=True)
        go("features", sae=row["sae"], feature_id=row["feature_id"])
