"""Panel of the page ``operators``: how the mean Jacobian behind an operator converged, and where it stopped."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.operators.fitting import HEIGHT

ERROR, CHANGE = "relative error", "change of the mean"
CONVERGENCE = """with fitted as (
    select unnest(r.inputs) as jacobian
    from operators as o
    inner join stage_runs as r
        on
            r.stage = 'operators' and r.collection = o.collection
            and list_contains(list_transform(r.files, lambda file: file.path), o.path)
    where o.collection = $collection and o.operator = $operator
)

select part, n_tokens, n_documents, relative_error, change, tolerance, converged, probes, jacobian
from jacobian_curves
semi join fitted using (jacobian)
where collection = $collection
order by jacobian, part"""


def convergence(**chosen: object) -> None:
    """Error and change of the running mean against the tokens so far."""
    panel(
        "Convergence of the Jacobian",
        filled(CONVERGENCE, **chosen),
        _convergence,
        note="After each part of the train text, over the norm of J: the standard error of the mean Jacobian, by document and row, and "
        "the change of the mean by this part. The dashed rule is `jacobians.tolerance`: a pair stops at the first part whose "
        "error is within it, else at the end of `jacobians.n_tokens`.",
        empty="This Jacobian was read from a file: nothing was measured.",
    )


def _convergence(rows: pl.DataFrame) -> None:
    last = rows.row(-1, named=True)
    with st.container(horizontal=True):
        st.metric("Tokens", f"{last['n_tokens']:,}", width="content")
        st.metric("Documents", f"{last['n_documents']:,}", width="content")
        error = last["relative_error"]
        st.metric("Relative error", "not known" if error is None else f"{error:.3f}", width="content")
        st.metric("Stopped", "within the tolerance" if last["converged"] else "at the end of the text", width="content")
    colours = dict(zip((ERROR, CHANGE), CATEGORIES))
    folded = (
        alt.Chart(rows)
        .transform_fold(["relative_error", "change"], ["column", "value"])
        .transform_calculate(measure=f"datum.column == 'change' ? '{CHANGE}' : '{ERROR}'")
        .transform_filter("isValid(datum.value)")
    )
    y = alt.Y("value:Q", title="share of the norm of J", scale=alt.Scale(zero=True))
    lines = folded.mark_line(point=True).encode(
        x=alt.X("n_tokens:Q", title="train tokens"),
        y=y,
        color=coloured("measure", colours, "").legend(orient="top"),
        tooltip=[
            alt.Tooltip("measure:N"),
            number("value", "share of the norm", ".4f"),
            number("n_tokens", "train tokens", ",d"),
            number("n_documents", "documents", ",d"),
            number("probes", "rows of each token", "d"),
            number("tolerance", "tolerance", "~g"),
        ],
    )
    rule = alt.Chart(rows).mark_rule(strokeDash=[4, 4], color="#808080").encode(y=alt.Y("max(tolerance):Q"))
    chart = alt.layer(lines, rule).properties(height=HEIGHT)
    draw_chart(chart, alt="Relative error of the mean Jacobian and its change against train tokens")
