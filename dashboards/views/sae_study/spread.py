"""Panel of the page ``sae_study``: differences between architectures beside the spread over seeds."""

from dataclasses import replace
from functools import partial
from typing import Any

import altair as alt

from ato.sae_studies.colours import ARCHITECTURES, OTHERS
from dashboards.ui.address import choose
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, Column, Panel
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.reading import ask, filled
from dashboards.views.sae_study.about import NOT_MEASURED

NAMES = {
    "fvu": "FVU",
    "ce_recovered": "loss recovered",
    "kl": "KL when spliced in (nats per token)",
    "explained_variance": "explained variance",
    "dead_share": "share of dead features",
    "high_frequency_share": "share of high-frequency features",
    "shrinkage": "shrinkage",
    "decoder_redundancy": "decoder redundancy",
    "absorption_fraction": "absorption",
    "matched_cosine": "agreement between seeds",
    "probe_auroc_1": "AUROC of probes of one feature",
    "probe_auroc_5": "AUROC of probes of five features",
}
"""Metric -> its name, in order; of the others neither more nor less is better."""

MEASURED = """select distinct metric from sae_frontier
where collection = $collection and layer = $layer and site = $site and target_site is not distinct from $target_site
    and better is not null and mean is not null"""

SPREAD = """select
    architecture || if(has_skip, ' skip', '') || if(target_site is null, '', ' transcoder') || ', k = ' || coalesce(k::varchar, '?')
        || ', ' || format('{:,}', d_sae) || ' features' as kind,
    architecture, k, d_sae,
    n_seeds, n_saes, mean, sd, min, max, l0, place, next_architecture, difference, spread,
    case
        when is_baseline then 'baseline'
        when next_architecture is null then 'nothing comes after it'
        when exceeds_spread is null then 'unknown: too few seeds'
        when not exceeds_spread then 'no: within the spread'
        when not at_equal_l0 then 'beyond the spread, at unequal L0'
        else 'yes'
    end as better_than_next,
    best_baseline, baseline_difference, baseline_spread,
    case
        when is_baseline or best_baseline is null then null
        when beats_baselines is null then 'unknown: too few seeds'
        when not beats_baselines then 'no'
        when not baseline_at_equal_l0 then 'yes, at unequal L0'
        else 'yes'
    end as beats_baselines,
    source
from sae_frontier
where collection = $collection and layer = $layer and site = $site and target_site is not distinct from $target_site
    and metric = $metric and mean is not null
order by is_baseline, target_site nulls first, has_skip, d_sae, k nulls last, place nulls last, architecture, source"""


def spread(about: dict[str, Any]) -> None:
    """One metric of each kind of SAE: mean and range over seeds, and whether the next best one differs by more."""
    measured = ask(filled(MEASURED, **about))["metric"].to_list()
    metric = choose("Metric", "metric", [name for name in NAMES if name in measured], format=lambda name: NAMES[name])
    axis = NAMES.get(str(metric), "")
    chosen = replace(IS_ONE_BETTER, chart=_chart(axis), alt=f"{axis} of each kind of SAE, with its range over seeds")
    draw_panel(chosen, **about, metric=metric)


LINES = "split(replace(datum.label, ', ', '|'), '|')"
"""A label in two lines: the architecture, and what else tells kinds of SAEs apart."""


def _chart(axis: str) -> alt.LayerChart | alt.FacetChart:
    x = partial(alt.X, title=axis, scale=alt.Scale(zero=False, padding=10))
    base = alt.Chart(ROWS).encode(
        y=alt.Y("kind:N", title=None, sort=None, axis=alt.Axis(labelLimit=300, labelExpr=LINES, labelOffset=-6)),
        color=coloured("architecture", ARCHITECTURES, "architecture", OTHERS).legend(None),
        tooltip=[
            alt.Tooltip("kind:N"),
            number("mean", "mean"),
            number("sd", "sd over seeds"),
            number("min", "smallest"),
            number("max", "largest"),
            number("n_seeds", "seeds", "d"),
            number("l0", "L0", ".1f"),
            alt.Tooltip("better_than_next:N", title="better than the next"),
        ],
    )
    return alt.layer(
        base.mark_rule(strokeWidth=3, opacity=0.6).encode(x=x("min:Q"), x2=alt.X2("max:Q")),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=x("mean:Q")),
    ).properties(height=alt.Step(30))


IS_ONE_BETTER = Panel(
    "Is one better?",
    SPREAD,
    note="Mean over seeds (point) and range (bar) of each architecture at equal width and k, the best first. Spread: "
    "square root of the sum of the squared standard deviations over seeds of a kind and of the next best one; a smaller "
    "difference is not a finding, and a single seed has no spread. L0 is unequal where it differs by more than "
    "a tenth. Baselines have no seeds unless they are random.",
    empty=NOT_MEASURED,
    view="chart",
    chart=_chart("$metric"),
    alt="The metric of each kind of SAE, with its range over seeds",
    columns=(
        Column("kind", "kind"),
        Column("n_seeds", "seeds"),
        Column("mean", "mean"),
        Column("sd", "sd over seeds"),
        Column("l0", "L0"),
        Column("place", "place"),
        Column("next_architecture", "next best"),
        Column("difference", "difference to it"),
        Column("spread", "spread of both"),
        Column("better_than_next", "better than the next?"),
        Column("best_baseline", "best baseline"),
        Column("baseline_difference", "difference to it"),
        Column("baseline_spread", "spread of both"),
        Column("beats_baselines", "beats baselines?"),
    ),
)
