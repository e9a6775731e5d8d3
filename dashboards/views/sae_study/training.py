"""Panel of the page ``sae_study``: training curves of all its SAEs."""

from dataclasses import replace
from typing import Any

import altair as alt

from ato.sae_studies.colours import ARCHITECTURES, OTHERS
from dashboards.ui.address import choose
from dashboards.ui.charts import THOUSANDS, coloured, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel

CURVES = {
    "fvu": "FVU on the batch",
    "l0": "active features per token",
    "dead_share": "share of features that have not fired recently",
}
NAMES = {"fvu": "FVU", "l0": "L0", "dead_share": "dead features"}
"""Curve -> its name in the field that chooses one."""
POINTS = 2000
"""Points of the chart, shared by all SAEs."""

TRAINING = f"""with steps as (
    select
        t.*, s.label, s.d_sae, s.k, s.seed,
        row_number() over (partition by t.sae order by t.step) as place,
        count(*) over (partition by t.sae) as n_steps,
        {POINTS} / (select count(distinct sae) from latest_sae_study where collection = $collection and layer = $layer and
            site = $site and target_site is not distinct from $target_site) as share
    from sae_training as t
    inner join latest_sae_study as s on s.collection = t.collection and s.sae = t.sae
    where t.collection = $collection and s.layer = $layer and s.site = $site and s.target_site is not distinct from $target_site
)

select label, architecture, d_sae, k, seed, step, tokens, fvu, l0, dead_share, sae
from steps
where n_steps <= share or place % ceil(n_steps / share) = 1 or place = n_steps
order by label, sae, step"""


def training(about: dict[str, Any]) -> None:
    """One quantity of the training log against the tokens seen."""
    curve = choose("Curve", "curve", list(CURVES), shown=NAMES.__getitem__, widget="segmented_control") or "fvu"
    chosen = replace(
        TRAINING_CURVES, chart=_chart(curve), alt=f"{CURVES[curve]} of each SAE against the tokens that it has seen"
    )
    draw_panel(chosen, **about)


def _chart(curve: str) -> alt.Chart:
    line = (
        alt.Chart(ROWS)
        .mark_line(strokeWidth=1.5, opacity=0.8)
        .encode(
            x=alt.X("tokens:Q", title="tokens", axis=alt.Axis(labelExpr=THOUSANDS)),
            y=alt.Y(f"{curve}:Q", title=CURVES[curve], scale=alt.Scale(zero=curve == "dead_share")),
            color=coloured("architecture", ARCHITECTURES, "architecture", OTHERS),
            strokeDash=alt.StrokeDash("k:N", title="k"),
            detail=alt.Detail("sae:N"),
            tooltip=[
                alt.Tooltip("label:N"),
                number("tokens", "tokens", ",d"),
                number("step", "step", ",d"),
                number(curve, CURVES[curve]),
            ],
        )
    )
    return line.properties(height=360)


TRAINING_CURVES = Panel(
    "Training curves",
    TRAINING,
    note="A line is one SAE, measured on the training batch; all of a layer see the same batches. At most "
    f"{POINTS:,} points in all, evenly spaced.",
    empty="No SAE of this layer was trained here: curves come from `ato run sae_study`.",
    view="chart",
    chart=_chart("fvu"),
    alt="FVU of each SAE against the tokens that it has seen",
    wide=False,
)
