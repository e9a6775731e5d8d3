"""Panels of the page ``fate``: how many features have which fate, and how often the views agree."""

import altair as alt

from ato.evaluation.colours import FATES
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, Column, Panel, interval, names

EMPTY = "No feature fates yet: run `ato run fate`."

COUNTS = """select source_layer || ' → ' || target_layer as pair, source_layer, target_layer, fate,
    count(*) as n_features, count(*) filter (views_disagree) as n_disagreeing
from feature_fate
where collection = $collection and r2 is not null
    and exists (select 1 from feature_links as l where l.collection = $collection)
group by all
order by target_layer, source_layer, fate"""

AGREEING = (
    Column("view", "view"),
    Column("against", "against"),
    Column("n", "decided by both", "integer"),
    *interval("kappa", "kappa"),
    Column("both_transported", "both: transported", "integer"),
    Column("first_only", "only the first", "integer"),
    Column("second_only", "only the second", "integer"),
    Column("neither", "both: computed", "integer"),
    Column("agreed", "agreed"),
    Column("by_chance", "by chance"),
    Column("n_features", "features", "integer"),
)
AGREEMENT = f"""select {names(AGREEING)}
from fate_agreement
where collection = $collection and target_layer is null
order by place, against_place"""


def _counts() -> alt.Chart:
    bars = alt.Chart(ROWS).mark_bar()
    return bars.encode(
        y=alt.Y("pair:N", title="source → target layer", sort=None),
        x=alt.X("n_features:Q", title="features"),
        color=coloured("fate", FATES, "").legend(orient="top"),
        tooltip=[
            alt.Tooltip("pair:N"),
            alt.Tooltip("fate:N"),
            number("n_features", "features", ",d"),
            number("n_disagreeing", "views disagree", ",d"),
        ],
    ).properties(height=alt.Step(28))


FATES_BY_PAIR = Panel(
    "Fates by pair of layers",
    COUNTS,
    note="Scored features of the target layer's SAE. Carried: the ridge operator transports it and so does the identity. "
    "Rewritten: the operator does, the identity does not, so another direction holds it at the source. Computed: the "
    "operator does not. By the 95 % intervals of r2 and the thresholds of `evaluate`; undetermined: neither.",
    empty=EMPTY,
    view="chart",
    chart=_counts(),
    alt="Features of each fate, a bar for each pair of layers",
    wide=False,
)

VIEWS_AGREE = Panel(
    "Do the views agree?",
    AGREEMENT,
    note="Over all pairs of layers, features on which both views have decided. Views: r2 under ridge, identity and Jacobian; "
    "decoder cosine to the nearest source feature; pathway, the share of the pre-activation that the operator brings; "
    "change in the model "
    "after an ablation against the operator's prediction. Cohen's kappa is 0 at chance and 1 where they always agree; "
    "its limits count distinct features.",
    empty=EMPTY,
    columns=AGREEING,
    wide=False,
)
