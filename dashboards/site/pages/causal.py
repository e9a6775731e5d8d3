"""Page ``causal``: cost of patching transported residuals into the running model, beside its controls."""

from typing import Any

import altair as alt

from dashboards.site.charts import estimate, intervals
from dashboards.site.declarations import Choice, Column, Page, Panel
from dashboards.site.measures import chosen_column
from dashboards.ui.address import spaced
from dashboards.ui.charts import number
from dashboards.ui.declared import ROWS, TO_FEATURE, interval
from dashboards.views.causal.ablations import ABLATIONS
from dashboards.views.causal.costs import AXIS, COSTS, INTERVENTIONS, LEAPS, LINEAR_BELOW, MEASURES, SCALE, WHAT

DONE = "collection = $collection and feature_id is null"
TARGETS = f"""select distinct target_layer
from causal_summary
where {DONE}
order by target_layer"""
SOURCES = f"""select distinct source_layer
from causal_summary
where {DONE} and target_layer = $target_layer
order by source_layer"""
METHODS = f"""select method
from causal_summary
where {DONE} and target_layer = $target_layer and source_layer = $source_layer
group by method
order by method <> 'ridge', method"""
SETS = f"""select position_set
from causal_summary
where {DONE} and target_layer = $target_layer and source_layer = $source_layer and method = $method
group by position_set
order by position_set <> 'study', position_set"""
NAMES = {title: column for column, title in MEASURES.items()}
EMPTY = "No causal results in this collection."


def _measured(sql: str, order: str) -> str:
    cost, low, high = (chosen_column("measure", NAMES, end) for end in ("", "_low", "_high"))
    return f"""with costs as (
{sql}
)

select * replace (replace(intervention, '_', ' ') as intervention), {cost} as cost, {low} as cost_low, {high} as cost_high
from costs
where {cost} is not null
order by {order}"""


def page() -> Page:
    """The page of a layer pair."""
    return Page(
        "causal",
        "Causal",
        "What does it cost the model when transported residuals take the place of its own?",
        (
            Choice("target_layer", "Target layer", TARGETS),
            Choice("source_layer", "Source layer", SOURCES),
            Choice("method", "Method", METHODS),
            Choice("position_set", "Edited positions", SETS),
            Choice("measure", "Measure", tuple(NAMES)),
        ),
        (
            Panel(
                "Cost of each intervention",
                _measured(COSTS, "cost, intervention"),
                note=f"{' '.join(WHAT.split())} {SCALE} Bars are paired 95 % intervals by document.",
                empty=EMPTY,
                view="chart",
                chart=intervals(
                    "cost",
                    "intervention",
                    title="$measure",
                    tooltip=_tooltip(),
                    colour=_colour(None),
                    scale=_scale(),
                    axis=AXIS,
                ),
                alt="Cost of each intervention with its interval",
                columns=(
                    Column("intervention", "intervention"),
                    *interval("cost", "cost"),
                    *interval("difference", "transport less it"),
                    Column("n_sequences", "sequences", "integer"),
                    Column("n_documents", "documents", "integer"),
                ),
            ),
            Panel(
                "Cost against leap, into the target layer",
                _measured(LEAPS, "intervention, leap"),
                note=f"One point per source layer with results for these positions. {SCALE}",
                empty=EMPTY,
                view="chart",
                chart=_by_leap(),
                alt="Cost of each intervention against the leap",
            ),
            Panel(
                "Single features",
                ABLATIONS.replace("$features", "200"),
                note="Added loss (nats per token) with 95 % intervals where a feature is active: ablated (zeroed), or replaced by its "
                "transported value. At most 200 features, most costly first. A row leads to its feature.",
                empty="No single-feature results.",
                columns=(
                    Column("feature_id", "feature"),
                    *interval("zeroed", "zeroed"),
                    *interval("transported", "transported"),
                    Column("n_sequences", "sequences", "integer"),
                    Column("n_documents", "documents", "integer"),
                ),
                link=TO_FEATURE,
            ),
        ),
    )


def _scale() -> alt.Scale:
    return alt.Scale(type="symlog", constant=LINEAR_BELOW)


def _colour(legend: alt.Legend | None) -> alt.Color:
    scale = alt.Scale(domain=[spaced(name) for name in INTERVENTIONS], range=list(INTERVENTIONS.values()))
    return alt.Color("intervention:N", scale=scale, legend=legend)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("intervention:N"),
        *estimate("cost", "$measure", ".4f"),
        number("n_sequences", "sequences", "d"),
        number("n_documents", "documents", "d"),
    ]


def _by_leap() -> alt.TopLevelMixin:
    base = alt.Chart(ROWS).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        color=_colour(alt.Legend(title=None)),
        tooltip=_tooltip(),
    )
    across: dict[str, Any] = {
        "title": "$measure",
        "axis": AXIS,
        "scale": _scale(),
    }
    return alt.layer(
        base.mark_line(opacity=0.6).encode(y=alt.Y("cost:Q", **across)),
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("cost_low:Q", **across), y2=alt.Y2("cost_high:Q")),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=alt.Y("cost:Q", **across)),
    ).properties(height=360)
