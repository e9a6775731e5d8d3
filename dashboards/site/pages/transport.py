"""Page ``transport``: how well each layer pair transports the features of the SAE at its target."""

import altair as alt

from ato.evaluation.map_colours import DARK_BELOW
from dashboards.site.charts import estimate, lines
from dashboards.site.declarations import Choice, Page, Panel
from dashboards.site.measures import chosen_column
from dashboards.ui.chart_theme import GREY, fitting_columns
from dashboards.ui.charts import CATEGORIES, VERDICT_MEANINGS, VERDICTS, coloured, map_scale, number
from dashboards.ui.declared import ROWS, TO_OPERATOR
from dashboards.views.transport.features import LOWEST, NOT_EVALUATED, SPREAD
from dashboards.views.transport.page import INTERVALS, MAP, R2, SAES
from warehouse.catalog.compared.statements import at_least

MEASURES = {
    "mean r2": "mean_r2",
    "mean r2, selected features": "mean_r2_selected",
    "median r2": "median_r2",
    "mean skill against the identity": "mean_skill",
    "share transported": "share_transported",
    "share undetermined": "share_undetermined",
    "share computed": "share_computed",
    "r2 of the whole residual": "r2_test",
}
"""Measure -> column of the map."""
WITHOUT_INTERVAL = ("median_r2", "mean_skill")
OF_SAE = "(select layer from saes where collection = $collection and sae = $sae)"
PAIRS = MAP.replace("$sae_layer", OF_SAE)
SHOWN_AS = {
    "shown": chosen_column("measure", MEASURES),
    "shown_low": chosen_column("measure", MEASURES, "_low", WITHOUT_INTERVAL),
    "shown_high": chosen_column("measure", MEASURES, "_high", WITHOUT_INTERVAL),
}
SHOWN = f"""with pairs as (
{PAIRS}
)

select
    source_layer, target_layer, leap, method, position_policy, sae, operator, n_features_scored, n_features, n_test, n_test_documents,
    {SHOWN_AS["shown"]} as shown,
    {SHOWN_AS["shown_low"]} as shown_low,
    {SHOWN_AS["shown_high"]} as shown_high
from pairs
order by target_layer, source_layer"""
DRAWN = SHOWN.replace("from pairs\norder by", "from pairs\nwhere shown is not null\norder by")
SHARES = f"""with pairs as (
{PAIRS}
)

select
    source_layer, target_layer, leap, sae, n_features_scored,
    unnest(['transported', 'undetermined', 'computed']) as verdict,
    unnest([1, 2, 3]) as place,
    unnest([share_transported, share_undetermined, share_computed]) as share,
    unnest([share_transported_low, share_undetermined_low, share_computed_low]) as share_low,
    unnest([share_transported_high, share_undetermined_high, share_computed_high]) as share_high
from pairs
where n_features_scored > 0
order by leap, target_layer, place"""
QUANTILES = (5, 25, 50, 75, 95)
DRAWN_QUANTILES = ", ".join(f"{at_least(f'r2_q{q:02d}', LOWEST)} as drawn_q{q:02d}" for q in QUANTILES)
OF_ALL = SPREAD.replace("$features", "'all'").replace("$sae_layer", OF_SAE)
SPREAD_DRAWN = f"""with spread as (
{OF_ALL}
)

select *, {DRAWN_QUANTILES}
from spread
order by target_layer, leap"""
POLICIES = """select distinct position_policy
from operators
where collection = $collection and method = $method
order by position_policy desc"""
METHODS = """select distinct method
from operators
where collection = $collection
order by method <> 'ridge', method"""


def page() -> Page:
    """The map of transport."""
    return Page(
        "transport",
        "Transport map",
        "Which layer pairs transport the features at their target linearly?",
        (
            Choice("measure", "Measure", tuple(MEASURES)),
            Choice("method", "Method", METHODS),
            Choice("position_policy", "Source position", POLICIES),
            Choice(
                "sae",
                "SAE (targets with several)",
                SAES.replace("select sae, layer", "select sae"),
                empty="most trusted",
            ),
        ),
        (
            Panel(
                "Source × target",
                SHOWN,
                note=f"{R2} Shares are of the scored features. A cell leads to its operator. – is not scored. Colours run from 0 to 1.",
                empty="No operators in this collection.",
                view="chart",
                chart=_map(),
                alt="Heat map of the measure by source and target layer",
                link=TO_OPERATOR,
            ),
            Panel(
                "By leap",
                DRAWN,
                note=INTERVALS,
                empty=NOT_EVALUATED,
                view="chart",
                chart=_along("leap", "leap (layers)", "target_layer", "target layer"),
                alt="The measure against the leap, a line for each target layer",
                wide=False,
            ),
            Panel(
                "By depth",
                DRAWN,
                note=INTERVALS,
                empty=NOT_EVALUATED,
                view="chart",
                chart=_along("target_layer", "target layer", "leap", "leap (layers)"),
                alt="The measure against the target layer, a line for each leap",
                wide=False,
            ),
            Panel(
                "Verdicts by leap",
                SHARES,
                note=f"Of all scored features, one bar per target layer, labelled above it. {VERDICT_MEANINGS}",
                empty=NOT_EVALUATED,
                view="chart",
                chart=_verdicts(),
                alt="Shares of the verdicts by leap and target layer",
                wide=False,
            ),
            Panel(
                "Spread of r2 by leap",
                SPREAD_DRAWN,
                note="Over the scored features: thin line 5 to 95 %, thick line 25 to 75 %, dot median; clipped at -2.",
                empty=NOT_EVALUATED,
                view="chart",
                chart=_spread(),
                alt="Quantiles of the features' r2 by leap and target layer",
                wide=False,
            ),
        ),
    )


def _pair() -> list[alt.Tooltip]:
    names = {"source_layer": "source layer", "target_layer": "target layer", "leap": "leap"}
    return [number(name, title, "d") for name, title in names.items()]


def _sizes() -> list[alt.Tooltip]:
    names = {"n_features_scored": "features scored", "n_features": "features", "n_test": "test tokens"}
    return [number(name, title, ",d") for name, title in (names | {"n_test_documents": "test documents"}).items()]


def _map() -> alt.TopLevelMixin:
    known = "isValid(datum.shown)"
    base = alt.Chart(ROWS).encode(
        x=alt.X("target_layer:O", title="target layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("source_layer:O", title="source layer"),
        tooltip=[*_pair(), *estimate("shown", "$measure"), *_sizes(), alt.Tooltip("sae:N", title="SAE")],
    )
    colour = alt.Color(
        "shown:Q", scale=map_scale(), legend=alt.Legend(orient="top", title="$measure", gradientLength=180)
    )
    shades = [{"test": f"!{known}", "value": "#808080"}, {"test": f"datum.shown < {DARK_BELOW}", "value": "white"}]
    ink = alt.ColorValue("black", condition=shades)
    text = base.transform_calculate(said=f"{known} ? format(datum.shown, '.2f') : '–'")
    chart = alt.layer(
        base.mark_rect(cursor="pointer", color="#999999", opacity=0.25),
        base.mark_rect(cursor="pointer").encode(color=colour),
        text.mark_text(cursor="pointer", fontSize=11).encode(text=alt.Text("said:N"), color=ink),
    )
    return chart.properties(height=alt.Step(34))


def _along(x: str, x_title: str, by: str, by_title: str) -> alt.TopLevelMixin:
    tooltip = [*_pair(), *estimate("shown", "$measure"), *_sizes()]
    return lines(
        x, "shown", x_title=x_title, y_title="$measure", by=by, by_title=by_title, tooltip=tooltip, name_width=45
    )


def _verdicts() -> alt.TopLevelMixin:
    base = alt.Chart(ROWS).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("target_layer:O", scale=alt.Scale(paddingInner=0.15)),
    )
    bars = base.mark_bar().encode(
        y=alt.Y("share:Q", title="share of scored features", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=coloured("verdict", VERDICTS, None).legend(orient="top"),
        order=alt.Order("place:Q"),
        tooltip=[
            alt.Tooltip("verdict:N"),
            *estimate("share", "share", ".1%"),
            *_pair(),
            number("n_features_scored", "features", ",d"),
        ],
    )
    named = base.transform_filter("datum.place === 1").mark_text(dy=-7, fontSize=11, color=GREY)
    return bars + named.encode(y=alt.YDatum(1), text=alt.Text("target_layer:O"))


def _spread() -> alt.TopLevelMixin:
    base = alt.Chart(ROWS).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("target_layer:O"),
        color=alt.Color(
            "target_layer:N",
            title="target layer",
            scale=alt.Scale(range=list(CATEGORIES)),
            legend=alt.Legend(columns=fitting_columns(45)),
        ),
        tooltip=[
            *_pair(),
            *[number(f"r2_q{q:02d}", f"{q} % quantile") for q in QUANTILES],
            number("mean_r2", "mean"),
            number("n_features", "features scored", ",d"),
        ],
    )
    at = {q: alt.Y(f"drawn_q{q:02d}:Q", title="r2 of features") for q in (5, 25, 50)}
    return alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=at[5], y2=alt.Y2("drawn_q95:Q")),
        base.mark_bar(size=7, opacity=0.55).encode(y=at[25], y2=alt.Y2("drawn_q75:Q")),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=at[50]),
    )
