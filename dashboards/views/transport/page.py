"""Page ``transport``: how well each layer pair transports the features of the SAE at its target, by leap and depth."""

from typing import Any, NamedTuple

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.map_colours import DARK_BELOW
from dashboards.ui.address import choose, collection
from dashboards.ui.charts import in_method_order, map_scale, number, numbered, whole, with_intervals
from dashboards.ui.drawing import draw_chart
from dashboards.ui.lists import choose_list
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.transport.composition import compositions
from dashboards.views.transport.features import NOT_EVALUATED, distribution, verdicts
from dashboards.views.transport.listed import listed_features

MEASURES = {
    "mean r2": "mean_r2",
    "median r2": "median_r2",
    "mean skill against the identity": "mean_skill",
    "share transported": "share_transported",
    "share undetermined": "share_undetermined",
    "share computed": "share_computed",
    "r2 of the whole residual": "r2_test",
}
"""Measure of the map over all scored features -> its column."""
OF_SELECTED = {"mean r2": "mean_r2_selected", "r2 of the whole residual": "r2_test"}
"""The measures that there are for the selected features alone."""

LABELLED_UP_TO = 12
"""Number of sources or targets up to which cells show their value."""

WORSE, BETTER = "#D55E00", "#0072B2"

ADDRESS = ("source_layer", "target_layer", "method", "position_policy", "operator", "sae")
"""Columns of a cell that the page of its operator takes from the address."""

INTERVALS = (
    "Bars are 95 % intervals by test document, also of means over features and of shares. No intervals for medians and "
    "mean skill."
)
R2 = (
    "r2 of a feature: share of the variance of its activation that the operator predicts, on test tokens where the SAE "
    "has it active; 1 is perfect, 0 no better than the mean."
)
SHARES = (
    "Shares are of the scored features; the columns expected_wrong_ of transport_map say how many of the verdicts are "
    "expected to be wrong by chance."
)
MEANINGS = {
    "mean_r2": R2,
    "median_r2": R2,
    "mean_r2_selected": f"{R2} Over the selected features (best quality scores) only.",
    "mean_skill": "Skill: 1 - squared error / squared error of the identity map; 0 is no better than the identity.",
    "share_transported": f"Features whose 95 % interval of r2 lies above the upper threshold (default 0.7). {SHARES}",
    "share_undetermined": f"Features whose 95 % interval of r2 lies neither above nor below the thresholds. {SHARES}",
    "share_computed": f"Features whose 95 % interval of r2 lies below the lower threshold (default 0.3). {SHARES}",
    "r2_test": "r2 of the whole residual on test tokens, averaged over its dimensions; it needs no SAE.",
}


FEATURES = {"all": "all scored features", "selected": "selected features"}
"""Over which features the map averages, as `ato show --features` and `ato report --features` have it."""
SELECTED = "Over which features of the target's SAE averages are made: all scored ones, or those with the best scores."


class Measure(NamedTuple):
    """What the map shows."""

    name: str
    """In the address."""
    column: str
    of: str
    """Features, in words."""

    @property
    def title(self) -> str:
        """Of axes and legends."""
        return self.name if self.column == "r2_test" else f"{self.name}, {self.of}"


FITTED = """select distinct method, position_policy
from operators
where collection = $collection"""

MAP = """with fitted as (
    select * from operators
    where collection = $collection and method = $method and position_policy = $position_policy
    qualify row_number() over (partition by source_layer, target_layer order by r2_val desc nulls last, operator) = 1
),
scored as (
    select * from transport_map
    where collection = $collection and method = $method and position_policy = $position_policy and is_latest
        and coalesce(sae = $sae or target_layer <> $sae_layer, true)
    qualify row_number() over (partition by operator order by sae_trusted desc, sae) = 1
)
select f.source_layer, f.target_layer, f.leap, f.method, f.position_policy, operator, s.sae, f.n_test, f.n_test_documents,
    s.n_features, s.n_features_scored, s.n_features_selected, s.median_r2, s.mean_r2, s.mean_r2_low, s.mean_r2_high,
    s.mean_r2_selected, s.mean_r2_selected_low, s.mean_r2_selected_high, round(s.mean_skill, 9) as mean_skill,
    s.share_transported, s.share_transported_low, s.share_transported_high, s.share_undetermined, s.share_undetermined_low,
    s.share_undetermined_high, s.share_computed, s.share_computed_low, s.share_computed_high,
    f.r2_test, f.r2_test_low, f.r2_test_high
from fitted as f left join scored as s using (operator)
order by f.target_layer, f.source_layer"""
"""The best operator of a method for each pair, and its transport of the features of one SAE per target."""


def page() -> None:
    """Draw the page."""
    key = collection()
    fitted = ask(filled(FITTED, collection=key))
    if fitted.is_empty():
        st.info("No operators yet: run `ato run operators`, then `ato run evaluate`.")
        return
    places = st.columns([2, 3, 2, 2, 3])
    with places[0]:
        switch = choose("Features", "features", list(FEATURES), help=SELECTED, widget="segmented_control")
    features = switch or "all"
    measures = MEASURES if features == "all" else OF_SELECTED
    name = choose("Measure", "measure", list(measures), where=places[1]) or next(iter(measures))
    measure = Measure(name, measures[name], FEATURES[features])
    chosen = {"collection": key} | _choose_operators(key, fitted, places[2:])
    sql = filled(MAP, **chosen)
    panel(
        "Source × target",
        sql,
        lambda rows: _map(rows, measure),
        note=f"{MEANINGS[measure.column]} Click a cell to open its operator. –: not scored, no SAE at the target "
        "has been evaluated. Colours are clipped to the scale.",
    )
    left, right = st.columns(2)
    with left:
        panel("By leap", sql, lambda rows: _profile(rows, measure, "leap", "target_layer"), note=INTERVALS)
    with right:
        panel("By depth", sql, lambda rows: _profile(rows, measure, "target_layer", "leap"), note=INTERVALS)
    left, right = st.columns(2)
    with left:
        verdicts(sql)
    with right:
        distribution(features, **chosen)
    if (list_ := choose_list("feature")) is not None:
        listed_features(list_, **chosen)
    compositions(**chosen)


SAES = """select sae, layer
from saes
where collection = $collection
qualify count(*) over (partition by layer) > 1
order by layer, trusted desc, sae"""


def _choose_operators(key: str, fitted: pl.DataFrame, places: list[Any]) -> dict[str, object]:
    """The operator of each pair and the SAE of each target, as values of the placeholders of ``MAP``."""
    method = choose("Method", "method", in_method_order(fitted["method"].unique()), where=places[0])
    policies = fitted.filter(pl.col("method") == method)["position_policy"].unique().sort(descending=True).to_list()
    policy = choose(
        "Source position",
        "position_policy",
        policies,
        where=places[1],
        help="Source token that predicts a target token: the same, the previous, one at an offset, or the most "
        "attended.",
    )
    layers = dict(ask(filled(SAES, collection=key)).iter_rows())
    sae = choose("SAE (targets with several)", "sae", list(layers), where=places[2])
    return {"method": method, "position_policy": policy, "sae": sae, "sae_layer": layers.get(sae or "")}


def _map(rows: pl.DataFrame, measure: Measure) -> None:
    column = measure.column
    known = f"isValid(datum.{column})"
    if column == "mean_skill":
        scale = alt.Scale(domain=[-1, 0, 1], range=[WORSE, "#f7f7f7", BETTER], clamp=True)
        dark = f"abs(datum.{column}) > 0.7"
    else:
        scale, dark = map_scale(), f"datum.{column} < {DARK_BELOW}"
    n_sources, n_targets = rows["source_layer"].n_unique(), rows["target_layer"].n_unique()
    cell = alt.selection_point(name="cell", fields=["source_layer", "target_layer"])
    base = alt.Chart(rows).encode(
        x=alt.X("target_layer:O", title="target layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("source_layer:O", title="source layer"),
        tooltip=[*_pair(), number(column, measure.title), *_sizes(), alt.Tooltip("sae:N"), alt.Tooltip("operator:N")],
    )
    colour = alt.Color(
        f"{column}:Q", scale=scale, legend=alt.Legend(orient="top", title=measure.title, gradientLength=180)
    )
    tile: dict[str, Any] = {"cursor": "pointer", "cornerRadius": 2}
    layers = [
        base.mark_rect(**tile, color="#999999", opacity=0.25).add_params(cell),
        base.mark_rect(**tile).encode(color=colour),
    ]
    if max(n_sources, n_targets) <= LABELLED_UP_TO:
        label = base.transform_calculate(shown=f"{known} ? format(datum.{column}, '.2f') : '–'")
        shades = [{"test": f"!{known}", "value": "#808080"}, {"test": dark, "value": "white"}]
        ink = alt.ColorValue("black", condition=shades)
        layers.append(label.mark_text(cursor="pointer", fontSize=11).encode(text=alt.Text("shown:N"), color=ink))
    chart = alt.layer(*layers).properties(
        height=max(220, 34 * min(n_sources, LABELLED_UP_TO) + 90, 12 * n_sources + 90)
    )
    found = draw_chart(
        chart, on_select="rerun", key="map", alt=f"Heat map of {measure.title} by source and target layer"
    )
    picked = found["selection"]["cell"]
    if picked:
        chosen = rows.filter(**{name: picked[0][name] for name in ("source_layer", "target_layer")}).row(0, named=True)
        # The operators page ignores the measure; the browser's back button restores the map with it.
        go("operators", **{name: chosen[name] for name in ADDRESS}, measure=measure.name)


def _profile(rows: pl.DataFrame, measure: Measure, along: str, lines: str) -> None:
    column = measure.column
    titles = {"leap": "leap (layers)", "target_layer": "target layer"}
    rows = rows.filter(pl.col(column).is_not_null())
    if rows.is_empty():
        st.info(NOT_EVALUATED)
        return
    chart = with_intervals(
        rows,
        x=whole(along, titles[along]),
        y=column,
        y_title=measure.title,
        colour=numbered(lines, titles[lines], rows[lines].n_unique()),
        tooltip=[*_pair(), *_interval(rows, measure), *_sizes()],
    )
    draw_chart(
        chart.properties(height=340), alt=f"{measure.title} against {titles[along]}, a line for each {titles[lines]}"
    )


def _pair() -> list[alt.Tooltip]:
    return [
        number("source_layer", "source layer", "d"),
        number("target_layer", "target layer", "d"),
        number("leap", "leap", "d"),
    ]


def _interval(rows: pl.DataFrame, measure: Measure) -> list[alt.Tooltip]:
    column = measure.column
    ends = [number(f"{column}_{end}", f"95 % {end}") for end in ("low", "high") if f"{column}_{end}" in rows.columns]
    return [number(column, measure.title), *ends]


def _sizes() -> list[alt.Tooltip]:
    return [
        number("n_features_scored", "features scored", ",d"),
        number("n_features", "features", ",d"),
        number("n_test", "test tokens", ",d"),
        number("n_test_documents", "test documents", ",d"),
    ]
