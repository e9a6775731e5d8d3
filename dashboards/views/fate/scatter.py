"""Panel of the page ``fate``: is what is predicted also caused?"""

import altair as alt

from ato.evaluation.colours import FATES
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, TO_FEATURE, Panel
from dashboards.views.fate.counts import EMPTY

LOWEST = -1.0
"""Lower end of both axes; what lies below is drawn at the edge."""

SCATTER = """select source_layer || ' → ' || target_layer as pair, sae, feature_id, source_layer, target_layer, fate, r2, agreement,
    agreement_low, agreement_high, agreement_identity, slope, predicted, measured, measured_random, n_ablated, n_ablated_documents
from feature_fate
where collection = $collection and r2 is not null and agreement is not null
order by target_layer, source_layer, feature_id"""


def _scatter() -> alt.Chart:
    scale = alt.Scale(domain=[LOWEST, 1], clamp=True, nice=False)
    return (
        alt.Chart(ROWS)
        .mark_point(filled=True, size=45, opacity=0.7)
        .encode(
            x=alt.X("r2:Q", title="r2 under ridge", scale=scale),
            y=alt.Y("agreement:Q", title="causal agreement", scale=scale),
            color=coloured("fate", FATES, "").legend(orient="top"),
            tooltip=[
                alt.Tooltip("pair:N"),
                number("feature_id", "feature", "d"),
                alt.Tooltip("fate:N"),
                number("r2", "r2"),
                number("agreement", "agreement"),
                number("agreement_low", "95 % from"),
                number("agreement_high", "to"),
                number("agreement_identity", "agreement of the identity"),
                number("slope", "share of the predicted change"),
                number("measured", "rms change"),
                number("measured_random", "along a random direction"),
                number("n_ablated", "tokens", ",d"),
                number("n_ablated_documents", "documents", ",d"),
            ],
        )
        .properties(height=380)
    )


PREDICTED_AND_CAUSED = Panel(
    "Predicted, and caused?",
    SCATTER,
    note="Across: r2 of the feature under the ridge operator. Up: agreement, 1 − Σ (measured − predicted)² / Σ measured², of "
    "the feature's change when the direction that the operator reads it from is moved to its mean at an active token of "
    "the source layer: 1 where the model does what the operator says, 0 where no change would be as good a prediction. "
    f"Lower right: predicted, not carried. Values below {LOWEST:g} are drawn at the edge.",
    empty=EMPTY,
    view="chart",
    chart=_scatter(),
    alt="Causal agreement against r2 under ridge, a point per feature and pair",
    link=TO_FEATURE,
)
