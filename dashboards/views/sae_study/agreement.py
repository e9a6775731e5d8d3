"""Panel of the page ``sae_study``: do other seeds find the same features?"""

from typing import Any

import altair as alt

from dashboards.ui.charts import map_scale, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel

AGREEMENT = """with pairs as (
    select collection, study, sae, other_sae, n_matched, mean_cosine, share_same, null_mean_cosine from sae_agreement
    union
    select collection, study, other_sae, sae, n_matched, mean_cosine, share_same, null_mean_cosine from sae_agreement
)

select
    a.label, 'seed ' || coalesce(b.seed::varchar, '?') as other, b.seed as other_seed, b.label as other_label, a.architecture,
    a.k, a.d_sae,
    p.mean_cosine, p.share_same, p.n_matched, p.null_mean_cosine
from pairs as p
inner join latest_sae_study as a using (collection, study, sae)
inner join latest_sae_study as b
    on b.collection = p.collection and b.study = p.study and b.sae = p.other_sae
where p.collection = $collection and a.layer = $layer and a.site = $site
    and a.target_site is not distinct from $target_site and p.mean_cosine is not null
order by a.architecture, a.d_sae, a.k, a.seed, b.seed"""

LINES = "split(replace(datum.label, ' k=', '|k='), '|')"
"""A label in two lines: the architecture, and what else tells SAEs apart."""


def agreement(about: dict[str, Any]) -> None:
    """Mean cosine of matched features between the seeds of each setting."""
    draw_panel(SEED_AGREEMENT, **about)


def _agreement() -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "other:N",
            title="matched with",
            sort=alt.EncodingSortField("other_seed", op="min"),
            axis=alt.Axis(labelAngle=0),
        ),
        y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=240, labelExpr=LINES, labelOffset=-6)),
        tooltip=[
            alt.Tooltip("label:N"),
            alt.Tooltip("other_label:N", title="matched with"),
            number("mean_cosine", "mean cosine"),
            number("share_same", "cosine of 0.9 or more", ".0%"),
            number("n_matched", "matched features", ",d"),
            number("null_mean_cosine", "with a random dictionary"),
        ],
    )
    ink = alt.ColorValue("#000000", condition={"test": "datum.mean_cosine < 0.6", "value": "#ffffff"})
    return alt.layer(
        base.mark_rect().encode(
            color=alt.Color(
                "mean_cosine:Q", title="mean cosine", scale=map_scale(), legend=alt.Legend(gradientLength=90)
            )
        ),
        base.mark_text().encode(text=alt.Text("mean_cosine:Q", format=".2f"), color=ink),
    ).properties(height=alt.Step(28))


SEED_AGREEMENT = Panel(
    "Agreement between seeds",
    AGREEMENT,
    note="A cell is a pair of SAEs with equal settings but their seeds: mean decoder cosine of features matched one to "
    "one, features that never fire left out. Hover for the share of pairs with a cosine of 0.9 or more, and for what a "
    "random dictionary in place of the other reaches.",
    empty="No two SAEs of this layer differ only in their seed: list several in `sae_study.seeds`, then "
    "`ato run sae_study`.",
    view="chart",
    chart=_agreement(),
    alt="Mean cosine of matched features between seeds of the same settings",
    wide=False,
)
