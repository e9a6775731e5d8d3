"""The effect of intervening on one feature alone."""

from typing import Any

import altair as alt
import polars as pl

from dashboards.ui.charts import SPACED, coloured, number, with_intervals
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

COLOURS = {"feature_transport": "#0072B2", "feature_zero": "#E69F00"}


EFFECT = """select method, leap, source_layer, intervention, position_set, n_sequences, n_documents, delta_log_ppl, delta_log_ppl_low,
    delta_log_ppl_high, kl
from causal_summary
where collection = $collection and target_layer = $layer and feature_id = $feature_id
order by method, leap, intervention"""


def causal_effect(about: dict[str, Any]) -> None:
    """Change of the log-perplexity under the feature's interventions, by leap."""
    panel(
        "Causal effect",
        filled(EFFECT, **about),
        _effect,
        note="Change of the log-perplexity (nats per token) when only this feature is replaced by its transported "
        "value (feature transport) or ablated (feature zero) where it is active; 95 % intervals by document. Near 0 "
        "for transport and above 0 for ablation: the feature matters, and transport preserves it. Stored by layer and "
        "feature id, so SAEs of one layer share these rows.",
        empty="No intervention on this feature: `ato run causal` edits the best few features of each SAE.",
    )


def _effect(rows: pl.DataFrame) -> None:
    colour = coloured("intervention", COLOURS, "edit").legend(orient="top", title=None, labelExpr=SPACED)
    chart = with_intervals(
        rows,
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        y="delta_log_ppl",
        y_title="change of log-perplexity (nats)",
        colour=colour,
        line=False,
        zero=True,
        tooltip=[
            alt.Tooltip("intervention"),
            alt.Tooltip("method"),
            alt.Tooltip("source_layer", title="source layer"),
            number("delta_log_ppl", "change (nats)", ".4f"),
            number("delta_log_ppl_low", "95 % from", ".4f"),
            number("delta_log_ppl_high", "to", ".4f"),
            number("kl", "KL divergence (nats)", ".4f"),
            alt.Tooltip("n_sequences", title="sequences"),
            alt.Tooltip("n_documents", title="documents"),
        ],
    )
    draw_chart(chart, alt="Points with intervals: change of log-perplexity by leap and edit")
