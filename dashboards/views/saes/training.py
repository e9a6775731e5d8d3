"""Panel of the page ``saes``: training curves."""

from functools import partial

import altair as alt
import polars as pl

from dashboards.ui.address import choose
from dashboards.ui.chart_theme import fitting_columns
from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

CURVES = {
    "fvu": "FVU on the batch",
    "l0": "active features per token",
    "dead_share": "share of features that have not fired recently",
    "lr": "learning rate",
}
NAMES = {"fvu": "FVU", "l0": "L0", "dead_share": "dead features", "lr": "learning rate"}
"""Curve -> its name in the field that chooses one."""
STEPS = 200
"""Logged steps drawn for each SAE."""


TRAINING = """with steps as (
    select *, row_number() over (partition by sae order by step) as place, count(*) over (partition by sae) as n_steps
    from sae_training
    semi join saes using (collection, sae)
    where collection = $collection
)

select t.sae, s.layer, t.step, t.tokens, t.fvu, t.l0, t.dead_share, t.lr, t.mse
from steps as t
left join saes as s on s.collection = $collection and s.sae = t.sae
where t.n_steps <= $steps or t.place % ceil(t.n_steps / $steps) = 1 or t.place = t.n_steps
order by s.layer, t.sae, t.step"""


def training(collection: str) -> None:
    """One quantity of the training log against the step."""
    curve = choose("Curve", "curve", list(CURVES), shown=NAMES.__getitem__, widget="segmented_control") or "fvu"
    panel(
        "Training",
        filled(TRAINING, collection=collection, steps=STEPS),
        partial(_training, curve),
        note=f"SAEs trained here, at most {STEPS} evenly spaced log steps each. Measured on the training batch.",
        empty="No SAE of this collection was trained here; pretrained SAEs have no training curves.",
    )


def _training(curve: str, rows: pl.DataFrame) -> None:
    line = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=6)),
            y=alt.Y(f"{curve}:Q", title=CURVES[curve], scale=alt.Scale(zero=curve in ("dead_share", "lr"))),
            color=alt.Color("sae:N", title=None, sort=None, legend=alt.Legend(columns=fitting_columns(200))),
            tooltip=[
                alt.Tooltip("sae:N"),
                number("step", "step", ",d"),
                number("tokens", "tokens", ",d"),
                number(curve, CURVES[curve], ".4~g"),
            ],
        )
    )
    draw_chart(line.properties(height=380), alt=f"{CURVES[curve]} against the training step")
