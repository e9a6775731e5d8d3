"""Where a labelled feature fires: how strongly, in which parts of the text, and together with which others."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.features.labelled import LATEST_EVIDENCE
from dashboards.views.features.search import open_feature

EMPTY = "Not measured yet: run `ato run label`."
SHOWN_PARTS = 30

HISTOGRAM = f"""with {LATEST_EVIDENCE}

select h.bin, if(h.low = 0, h.high / 2, h.low) as low, coalesce(h.high, f.max_activation) as high, h.n, f.n_active, f.n_tokens
from feature_histograms as h
semi join latest using (collection, evidence)
left join labelled_features as f using (collection, evidence, feature_id)
where h.feature_id = $feature_id
order by h.bin"""


def histogram(about: dict[str, Any]) -> None:
    """Active tokens by activation."""
    panel(
        "Activation histogram",
        filled(HISTOGRAM, **about),
        _histogram,
        note="Active tokens by activation, over all tokens read; ranges are a quarter of an octave of activation, inactive tokens are "
        "omitted.",
        empty=EMPTY,
    )


def _histogram(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=240)
        .mark_bar(color=CATEGORIES[0])
        .encode(
            x=alt.X(
                "low:Q",
                title="activation",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(format="~g", grid=False),
            ),
            x2=alt.X2("high:Q"),
            y=alt.Y("n:Q", title="tokens"),
            y2=alt.Y2Datum(0),
            tooltip=[number("low", "from", ".3~g"), number("high", "to", ".3~g"), number("n", "tokens", ",d")],
        )
    )
    draw_chart(chart, alt="Histogram: active tokens by activation")


STRATA = f"""with {LATEST_EVIDENCE}

select distinct stratum
from feature_strata
semi join latest using (collection, evidence)
where feature_id = $feature_id
order by stratum = 'relative_position', stratum"""

PARTS = f"""with {LATEST_EVIDENCE}

select s.value, s.density, s.share, s.n_active, s.n_tokens, f.n_active / nullif(f.n_tokens, 0) as of_all
from feature_strata as s
semi join latest using (collection, evidence)
left join labelled_features as f using (collection, evidence, feature_id)
where s.feature_id = $feature_id and s.stratum = $stratum
order by if($stratum = 'relative_position', null, s.density) desc nulls last, s.value
limit {SHOWN_PARTS}"""


def strata(about: dict[str, Any]) -> None:
    """Density and share in each part of the text."""
    known = ask(filled(STRATA, **about))["stratum"].to_list()
    stratum = choose("Parts by", "stratum", known, format=lambda name: name.replace("_", " ")) if known else None
    panel(
        "Where it fires",
        filled(PARTS, **about, stratum=stratum),
        _parts,
        note=f"Density: share of the part's tokens on which it fires, comparable between parts; the line is that of all text. Share: the "
        f"part's share of the tokens on which it fires. At most {SHOWN_PARTS} parts, the densest first.",
        empty=f"{EMPTY} Parts other than the place in a sequence come from `collect.strata`.",
    )


def _parts(rows: pl.DataFrame) -> None:
    for column, (name, colour) in zip(st.columns(2), (("density", CATEGORIES[0]), ("share", CATEGORIES[2]))):
        base = alt.Chart(rows, height=alt.Step(18)).encode(
            tooltip=[
                alt.Tooltip("value:N"),
                number("density", "density", ".3%"),
                number("share", "share", ".1%"),
                number("n_active", "active tokens", ",d"),
                number("n_tokens", "of tokens", ",d"),
            ]
        )
        axis = alt.Axis(format=".2~%", tickCount=4)
        bars = base.mark_bar(color=colour).encode(
            x=alt.X(f"{name}:Q", title=name, axis=axis),
            y=alt.Y("value:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)),
        )
        line = base.mark_rule(color="#888888", strokeDash=[4, 3]).encode(x=alt.X("of_all:Q", title=name))
        with column:
            chart = alt.layer(bars, line) if name == "density" else bars
            draw_chart(chart, alt=f"Bars: {name} of the feature in each part of the text")


NEIGHBOURS = f"""with {LATEST_EVIDENCE},

described as (
    select feature_id, arg_max(description, coalesce(detection, -1)) as description
    from feature_labelled
    where collection = $collection and sae = $sae and description is not null
    group by feature_id
)

select n.method, n.rank, n.neighbour, n.value, d.description
from feature_neighbours as n
semi join latest using (collection, evidence)
left join described as d on d.feature_id = n.neighbour
where n.feature_id = $feature_id
order by n.method, n.rank"""


def fires_with(about: dict[str, Any]) -> None:
    """Features that fire with it, and those with a like decoder row."""
    panel(
        "Neighbours",
        filled(NEIGHBOURS, **about),
        partial(_neighbours, sae=about["sae"]),
        note="`coactivation`: correlation (phi) of firing over tokens; `decoder`: cosine of the decoder rows. Near-miss texts of the tests "
        "are those on which neighbours fire. Tick a row to open it.",
        empty=f"No neighbours. {EMPTY}",
    )


def _neighbours(rows: pl.DataFrame, sae: str) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        key="fires with",
        selection_mode="single-row",
        on_select=partial(_open, rows, sae),
        placeholder="not labelled",
        column_config={
            "neighbour": st.column_config.NumberColumn("feature", format="%d"),
            "value": st.column_config.NumberColumn("value", format="%.3f"),
            "description": st.column_config.TextColumn("description", width="medium"),
        },
    )


def _open(rows: pl.DataFrame, sae: str) -> None:
    for place in st.session_state["fires with"]["selection"]["rows"]:
        open_feature(sae, rows["neighbour"][place])
