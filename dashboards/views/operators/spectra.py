"""Panels of the page ``operators``: spectrum of the operator and canonical correlations of its pair."""

from typing import Literal

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.operators.curves import Curves, curve_colours, folded

SPECTRUM_CURVES: Curves = {
    "singular_value": ("singular value", "#0072B2"),
    "modulus": ("eigenvalue, modulus", "#E69F00"),
}

CORRELATION_CURVES: Curves = {
    "rho_in_sample": ("train", "#56B4E9"),
    "rho_held_out": ("test", "#009E73"),
    "rho_null": ("permutation null", "#999999"),
}
HEIGHT = 300
"""Height of a chart, in pixels."""


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


def spectrum(**chosen: object) -> None:
    """Singular values and moduli of eigenvalues of the operator's matrix."""
    panel(
        "Spectrum",
        filled(SPECTRUM, **chosen),
        _spectrum,
        empty="The identity and the mean have no spectrum.",
        note="Modes of the operator's matrix, largest first, on logarithmic axes, thinned to about 300. Modes that "
        "are zero up to rounding are "
        "omitted.",
    )


def _spectrum(rows: pl.DataFrame) -> None:
    _by_mode(rows, SPECTRUM_CURVES, "magnitude", "log")


MODES = """select c.mode, c.rho_in_sample, c.rho_held_out, c.rho_null
from canonical_correlations as c semi join latest_evaluations as l
    on l.kind = 'efficiency' and l.collection = c.collection and l.evaluation = c.evaluation and l.is_latest
where c.collection = $collection and c.source_layer = $source_layer and c.target_layer = $target_layer
    and c.position_policy = $position_policy
qualify c.mode <= 64 or c.mode % ceil(count(*) over () / 256) = 0
order by c.mode"""


def modes(**chosen: object) -> None:
    """Canonical correlations of the pair."""
    panel(
        "Canonical correlations",
        filled(MODES, **chosen),
        _modes,
        empty="No canonical correlations for this pair: run `ato run evaluate`.",
        note="Correlation of source and target along each canonical direction: on train tokens, of the same directions "
        "on test tokens, and with documents shuffled (permutation null).",
    )


def _modes(rows: pl.DataFrame) -> None:
    _by_mode(rows, CORRELATION_CURVES, "canonical correlation", "linear")


def _by_mode(rows: pl.DataFrame, curves: Curves, title: str, scale: Literal["log", "linear"]) -> None:
    chart = (
        folded(rows, curves)
        .mark_line()
        .encode(
            x=alt.X(
                "mode:Q", title="mode", scale=alt.Scale(type=scale, nice=False), axis=alt.Axis(format="d", tickCount=6)
            ),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(type=scale), axis=alt.Axis(format="~g", tickCount=5)),
            color=curve_colours(curves),
            tooltip=[number("mode", "mode", "d"), alt.Tooltip("curve:N"), number("value", title, ".4~g")],
        )
    )
    draw_chart(chart.properties(height=HEIGHT), alt=f"{title} of every mode")


SPECTRUM_NUMBERS = """select n_modes, largest_singular_value, median_singular_value, spectral_radius, stable_rank, participation,
    modes_for_90_percent, share_complex, n_growing
from spectra_overview
where collection = $collection and operator = $operator"""


def spectrum_in_numbers(**chosen: object) -> None:
    """Norm, effective rank and rotation of the operator's matrix."""
    panel(
        "Spectrum in numbers",
        filled(SPECTRUM_NUMBERS, **chosen),
        _numbers,
        empty="The identity and the mean have no spectrum.",
        note="Stable rank: squared Frobenius norm over the largest squared singular value. Complex eigenvalues come in "
        "conjugate pairs; each pair rotates a plane. Eigenvalues with modulus > 1 amplify.",
    )


def _numbers(rows: pl.DataFrame) -> None:
    own = rows.row(0, named=True)
    shown = {
        "modes": ("n_modes", ",d"),
        "largest singular value": ("largest_singular_value", ".3f"),
        "largest eigenvalue": ("spectral_radius", ".3f"),
        "stable rank": ("stable_rank", ".1f"),
        "modes for 90 % energy": ("modes_for_90_percent", ",d"),
        "complex eigenvalues": ("share_complex", ".0%"),
        "eigenvalues with modulus > 1": ("n_growing", ",d"),
    }
    with st.container(horizontal=True):
        for title, (column, form) in shown.items():
            st.metric(title, "–" if own[column] is None else format(own[column], form), width="content")
