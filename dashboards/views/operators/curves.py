"""Draws several columns of a frame as curves of one chart."""

import altair as alt
import polars as pl

from dashboards.ui.charts import coloured

Curves = dict[str, tuple[str, str]]
"""Column -> name and colour of its line."""


def folded(rows: pl.DataFrame, curves: Curves) -> alt.Chart:
    """Columns in long form: fields ``curve`` (its name), ``value``, and ``low`` and ``high`` of its interval."""
    names = ", ".join(f"'{column}': '{name}'" for column, (name, _) in curves.items())
    folded = alt.Chart(rows).transform_fold(list(curves), ["part", "value"]).transform_filter("isValid(datum.value)")
    return folded.transform_calculate(
        curve=f"({{{names}}})[datum.part]", low="datum[datum.part + '_low']", high="datum[datum.part + '_high']"
    )


def curve_colours(curves: Curves) -> alt.Color:
    """The colour of each curve, with a legend."""
    return coloured("curve", dict(curves.values()), "").legend(orient="top")
