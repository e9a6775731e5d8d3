"""Panels of page ``operators``: curves over strength, rank, amount of data and mode."""

from typing import Any, Literal

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, coloured, method_colours, number, numbered, with_intervals
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

Curves = dict[str, tuple[str, str]]
"""Column -> name and colour of its line."""

RANK_CURVES: Curves = {
    "ceiling_in_sample": ("ceiling, in sample", "#56B4E9"),
    "ceiling_held_out": ("ceiling, held out", "#009E73"),
    "ceiling_null": ("chance", "#999999"),
    "r2_svd_paper": ("as published", "#E69F00"),
    "r2_rrr": ("best map", "#0072B2"),
}
EFFICIENCY_CURVES: Curves = {"efficiency_paper": ("as published", "#E69F00"), "efficiency": ("best map", "#0072B2")}
SPECTRUM_CURVES: Curves = {
    "singular_value": ("singular value", "#0072B2"),
    "modulus": ("eigenvalue, modulus", "#E69F00"),
}
CORRELATION_CURVES: Curves = {
    "rho_in_sample": ("train", "#56B4E9"),
    "rho_held_out": ("test", "#009E73"),
    "rho_null": ("chance", "#999999"),
}
LOWEST, LOWEST_R2 = -1.0, -0.2
"""Efficiencies and whitened r2 below these are drawn there."""
HEIGHT = 300


def strength(**chosen: object) -> None:
    """Cross-validation: held-out r2 of every strength and fold."""
    panel(
        "Strength",
        filled(STRENGTH, **chosen),
        _strength,
        empty="This operator has no strength to choose, or its method was not cross-validated.",
        note="Held-out r2 of the residual, averaged over dimensions, of each strength alpha: a point is one fold of the train "
        "documents, the line their mean, the dashed rule the chosen strength.",
    )


def scaling(**chosen: object) -> None:
    """How much of the train documents the pair needs."""
    panel(
        "Amount of data",
        filled(SCALING, **chosen),
        _scaling,
        empty="`ato run evaluate` fits the pair on shares of the train documents.",
        note="r2 of the residual on the same test tokens after fitting on a share of the train documents, with 95 % intervals "
        "by document. A curve that still rises asks for more text.",
    )


def ranks(**chosen: object) -> None:
    """What a map of each rank reaches, between chance and ceiling."""
    panel(
        "Rank and ceiling",
        filled(RANKS, **chosen),
        _ranks,
        empty="`ato run evaluate` measures the ranks of the pair.",
        note="Whitened r2 on test tokens of the best map of each rank, with 95 % intervals by document. No linear map of that rank "
        "can pass the ceiling; the band is between its held-out and its in-sample value. Chance: the same with documents "
        "shuffled. As published: the fitted operator cut by SVD.",
    )


def efficiency(**chosen: object) -> None:
    """Shares of the ceiling that are reached."""
    panel(
        "Transport efficiency",
        filled(RANKS, **chosen),
        _efficiency,
        empty="`ato run evaluate` measures the ranks of the pair.",
        note=f"Whitened r2 over the ceiling of the same rank; 1 is all that a linear map can carry. As published: SVD cut over the "
        f"in-sample ceiling. Below {LOWEST:g} a point is drawn at {LOWEST:g}.",
    )


def spectrum(**chosen: object) -> None:
    """Singular values and moduli of eigenvalues of the operator's matrix."""
    panel(
        "Spectrum",
        filled(SPECTRUM, **chosen),
        _spectrum,
        empty="The identity and the mean have no spectrum worth a curve.",
        note="Modes of the operator's matrix, largest first, on logarithmic axes; about 300 of them are shown. What is zero to "
        "rounding is left out.",
    )


def modes(**chosen: object) -> None:
    """Canonical correlations of the pair."""
    panel(
        "Canonical correlations",
        filled(MODES, **chosen),
        _modes,
        empty="`ato run evaluate` measures the correlations of the pair.",
        note="Correlation of source and target along each canonical direction: on train tokens, of the same directions on test "
        "tokens, and with documents shuffled (chance).",
    )


def spectrum_in_numbers(**chosen: object) -> None:
    """How large, how many-dimensional and how rotating the operator's matrix is."""
    panel(
        "Spectrum in numbers",
        filled(SPECTRUM_NUMBERS, **chosen),
        _numbers,
        empty="The identity and the mean have no spectrum.",
        note="Stable rank: squared Frobenius norm over the largest squared singular value. Complex eigenvalues come in pairs, "
        "each a plane that the operator rotates; those larger than 1 grow.",
    )


def _strength(rows: pl.DataFrame) -> None:
    kind: Literal["symlog", "log"] = "symlog" if (rows["alpha"] == 0).any() else "log"
    x = alt.X("alpha:Q", title="strength alpha", scale=alt.Scale(type=kind), axis=alt.Axis(format="~g", tickCount=6))
    y = alt.Scale(zero=False)
    colour: Any = alt.value(CATEGORIES[0])
    if rows["l1_ratio"].drop_nulls().n_unique() > 1:
        colour = numbered("l1_ratio", "l1 ratio", rows["l1_ratio"].n_unique())
    base = alt.Chart(rows).encode(
        x=x,
        color=colour,
        tooltip=[
            number("alpha", "alpha", "~g"),
            number("l1_ratio", "l1 ratio", "~g"),
            number("fold", "fold", "d"),
            number("r2", "held-out r2", ".4f"),
            number("mean_r2", "mean of folds", ".4f"),
            number("n_folds", "folds", "d"),
        ],
    )
    chart = alt.layer(
        base.mark_line().encode(y=alt.Y("mean_r2:Q", title="held-out r2", scale=y)),
        base.mark_point(size=30).encode(y=alt.Y("r2:Q", title="held-out r2", scale=y)),
        alt.Chart(rows).transform_filter("datum.chosen").mark_rule(strokeDash=[4, 4], color="#808080").encode(x=x),
    )
    st.altair_chart(chart.properties(height=HEIGHT), alt="Held-out r2 of each fold against the strength")


def _scaling(rows: pl.DataFrame) -> None:
    colours = method_colours(rows["method"].unique(maintain_order=True).to_list())
    chart = with_intervals(
        rows,
        x=alt.X("n_train:Q", title="train tokens", scale=alt.Scale(type="log", nice=False, padding=14)),
        y="r2",
        y_title="r2 on test tokens",
        colour=coloured("method", colours, "method").legend(orient="top"),
        tooltip=[
            "method:N",
            number("fraction", "share of documents", ".0%"),
            number("n_train", "train tokens", ",d"),
            number("r2", "r2"),
            number("r2_low", "95 % low"),
            number("r2_high", "95 % high"),
            number("alpha", "alpha", "~g"),
            number("n_test", "test tokens", ",d"),
            number("n_test_documents", "test documents", ",d"),
        ],
    )
    st.altair_chart(chart.properties(height=HEIGHT), alt="r2 against the number of train tokens")


def _ranks(rows: pl.DataFrame) -> None:
    band = (
        alt.Chart(rows)
        .mark_area(opacity=0.25, color=CATEGORIES[2])
        .encode(x=_rank(), y=alt.Y("ceiling_held_out:Q", title="whitened r2"), y2="ceiling_in_sample:Q")
    )
    curves = _by_rank(rows, RANK_CURVES, "whitened r2", LOWEST_R2)
    st.altair_chart(
        alt.layer(band, *curves).properties(height=HEIGHT), alt="Whitened r2 against rank, with its ceiling"
    )


def _efficiency(rows: pl.DataFrame) -> None:
    curves = _by_rank(rows, EFFICIENCY_CURVES, "transport efficiency", LOWEST)
    st.altair_chart(alt.layer(*curves).properties(height=HEIGHT), alt="Transport efficiency against rank")


def _rank() -> alt.X:
    scale = alt.Scale(type="log", base=2, nice=False, padding=10)
    return alt.X("rank:Q", title="rank", scale=scale, axis=alt.Axis(format="d"))


def _by_rank(rows: pl.DataFrame, curves: Curves, title: str, lowest: float) -> list[alt.Chart]:
    """A line a column against rank, the last with its interval and on top; ceilings and chance are dashed."""
    least = min([0.0, *(value for column in curves for value in rows[column].drop_nulls())])
    y, scale = alt.Y("value:Q", title=title), alt.Scale(domainMin=max(lowest, least), clamp=True)
    tooltip: list[Any] = [
        number("rank", "rank", "d"),
        "curve:N",
        number("value", title),
        number("low", "95 % low"),
        number("high", "95 % high"),
        number("d_kept", "of dimensions", "d"),
        number("n_train", "train tokens", ",d"),
        number("n_test", "test tokens", ",d"),
    ]
    lines = _folded(rows, curves).encode(x=_rank(), y=y.scale(scale), color=_colours(curves), tooltip=tooltip)
    *_, last = curves
    bars = alt.Chart(rows).mark_rule(strokeWidth=1.5, opacity=0.7, color=curves[last][1])
    ends = bars.encode(x=_rank(), y=alt.Y(f"{last}_low:Q", title=title, scale=scale), y2=f"{last}_high:Q")
    dash = alt.condition("indexof(datum.part, 'ceiling') == 0", alt.value([5, 3]), alt.value([1, 0]))
    return [lines.mark_line().encode(strokeDash=dash), ends, lines.mark_point(filled=True, size=22, opacity=1)]


def _spectrum(rows: pl.DataFrame) -> None:
    _by_mode(rows, SPECTRUM_CURVES, "size of the mode", "log")


def _modes(rows: pl.DataFrame) -> None:
    _by_mode(rows, CORRELATION_CURVES, "canonical correlation", "linear")


def _by_mode(rows: pl.DataFrame, curves: Curves, title: str, scale: Literal["log", "linear"]) -> None:
    chart = (
        _folded(rows, curves)
        .mark_line()
        .encode(
            x=alt.X(
                "mode:Q", title="mode", scale=alt.Scale(type=scale, nice=False), axis=alt.Axis(format="d", tickCount=6)
            ),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(type=scale), axis=alt.Axis(format="~g", tickCount=5)),
            color=_colours(curves),
            tooltip=[number("mode", "mode", "d"), "curve:N", number("value", title, ".4~g")],
        )
    )
    st.altair_chart(chart.properties(height=HEIGHT), alt=f"{title} of every mode")


def _folded(rows: pl.DataFrame, curves: Curves) -> alt.Chart:
    """Columns one below another: ``curve`` (its name), ``value``, and the interval where there is one."""
    names = ", ".join(f"'{column}': '{name}'" for column, (name, _) in curves.items())
    folded = alt.Chart(rows).transform_fold(list(curves), ["part", "value"]).transform_filter("isValid(datum.value)")
    return folded.transform_calculate(
        curve=f"({{{names}}})[datum.part]", low="datum[datum.part + '_low']", high="datum[datum.part + '_high']"
    )


def _colours(curves: Curves) -> alt.Color:
    return coloured("curve", dict(curves.values()), "").legend(orient="top", columns=2)


def _numbers(rows: pl.DataFrame) -> None:
    own = rows.row(0, named=True)
    shown = {
        "modes": ("n_modes", ",d"),
        "largest singular value": ("largest_singular_value", ".3f"),
        "largest eigenvalue": ("spectral_radius", ".3f"),
        "stable rank": ("stable_rank", ".1f"),
        "modes of 90 % energy": ("modes_for_90_percent", ",d"),
        "complex eigenvalues": ("share_complex", ".0%"),
        "growing eigenvalues": ("n_growing", ",d"),
    }
    with st.container(horizontal=True):
        for title, (column, form) in shown.items():
            st.metric(title, "–" if own[column] is None else format(own[column], form), width=140)


STRENGTH = """select c.alpha, c.l1_ratio, c.fold, c.r2, avg(c.r2) over (partition by c.alpha, c.l1_ratio) as mean_r2,
    count(*) over (partition by c.alpha, c.l1_ratio) as n_folds,
    coalesce(c.alpha = o.alpha and c.l1_ratio is not distinct from o.l1_ratio, false) as chosen
from operator_cv as c inner join operators as o using (collection, operator)
where collection = $collection and operator = $operator
order by c.l1_ratio, c.alpha, c.fold"""
SCALING = """select method, fraction, n_train, alpha, r2, r2_low, r2_high, n_test, n_test_documents, share_of_full_r2
from scaling_curves
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
    and position_policy = $position_policy
order by method, fraction"""
RANKS = """select rank, d_kept, n_train, n_test, ceiling_in_sample, ceiling_held_out, ceiling_held_out_low, ceiling_held_out_high,
    ceiling_null, r2_rrr, r2_rrr_low, r2_rrr_high, r2_svd_paper, efficiency, efficiency_low, efficiency_high, efficiency_paper
from efficiency_curves
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
    and position_policy = $position_policy and is_latest
order by rank"""
SPECTRUM = """with modes as (
    select mode, singular_value, sqrt(eigenvalue_real ** 2 + eigenvalue_imag ** 2) as modulus
    from operator_spectra
    where collection = $collection and operator = $operator
)
select mode, if(singular_value > 1e-9 * max(singular_value) over (), singular_value, null) as singular_value,
    if(modulus > 1e-9 * max(modulus) over (), modulus, null) as modulus
from modes
qualify mode <= 64 or mode % ceil(count(*) over () / 256) = 0
order by mode"""
MODES = """select c.mode, c.rho_in_sample, c.rho_held_out, c.rho_null
from canonical_correlations as c semi join latest_evaluations as l
    on l.kind = 'efficiency' and l.collection = c.collection and l.evaluation = c.evaluation and l.is_latest
where c.collection = $collection and c.source_layer = $source_layer and c.target_layer = $target_layer
    and c.position_policy = $position_policy
qualify c.mode <= 64 or c.mode % ceil(count(*) over () / 256) = 0
order by c.mode"""
SPECTRUM_NUMBERS = """select n_modes, largest_singular_value, median_singular_value, spectral_radius, stable_rank, participation,
    modes_for_90_percent, share_complex, n_growing
from spectra_overview
where collection = $collection and operator = $operator"""
