"""Page ``operators``: one transport operator beside the others of its pair, or its fit and its provenance."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose, collection
from dashboards.ui.charts import in_method_order, number
from dashboards.ui.compare_link import compare_with
from dashboards.ui.drawing import draw_chart
from dashboards.ui.lists import choose_list, notes, own_lists
from dashboards.ui.navigation import name_tab
from dashboards.ui.panels import beside, panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.tables import headings
from dashboards.views.operators.features import features
from dashboards.views.operators.fitting import regularisation, scaling
from dashboards.views.operators.jacobian import convergence
from dashboards.views.operators.provenance import lineage, origin
from dashboards.views.operators.ranks import efficiency, ranks
from dashboards.views.operators.spectra import modes, spectrum, spectrum_in_numbers

SCORES = {
    "r2": "r2_test",
    "weighted r2": "r2_weighted",
    "whitened r2": "r2_whitened",
    "r2 of the update": "r2_update",
    "skill": "skill",
}
"""Score of the residual -> its column."""

LOWEST = -1.0
"""Lower scores are drawn at this value."""


SCORED, MADE = "Scores and features", "Fit and spectrum"
"""Parts of the page."""

FITTED = """select operator, source_layer, target_layer, method, position_policy,
    target_layer in (select layer from saes where collection = $collection) as has_sae
from operators
where collection = $collection
order by source_layer, target_layer, method, r2_val desc nulls last, operator"""


def page() -> None:
    """Draw the page: what the operator transports, or what it was made of."""
    key = collection()
    fitted = ask(filled(FITTED, collection=key))
    if fitted.is_empty():
        st.info("No operators yet: run `ato run operators`.")
        return
    listed = _listed(key, fitted)
    chosen = _choose_operator(listed) | {"collection": key}
    name_tab(f"{chosen['method']} {chosen['source_layer']} → {chosen['target_layer']}", "Operators")
    with st.container(horizontal=True, vertical_alignment="center"):
        own_lists(key, operator=chosen["operator"])
        compare_with("operator", chosen["operator"])
    if choose("Part", "part", (SCORED, MADE), widget="segmented_control") == SCORED:
        _scores(chosen)
        features(**chosen)
        notes(key, operator=chosen["operator"])
    else:
        _fit(chosen)


def _fit(chosen: dict[str, Any]) -> None:
    for pair in ((regularisation, scaling), (ranks, efficiency), (spectrum, modes)):
        beside(*(partial(draw, **chosen) for draw in pair))
    if chosen["method"] == "jacobian":
        convergence(**chosen)
    spectrum_in_numbers(**chosen)
    origin(**chosen)
    lineage(**chosen)


LISTED_OPERATORS = """select operator from list_members
where kind = 'operator' and collection = $collection and list = $list"""


def _listed(key: str, fitted: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``FITTED`` on the chosen list; all without one, or if it has none of this collection."""
    name = choose_list("operator", label="Operators on list", name="operators_list")
    if name is None:
        return fitted
    found = fitted.filter(
        pl.col("operator").is_in(ask(filled(LISTED_OPERATORS, collection=key, list=name))["operator"].implode())
    )
    if found.is_empty():
        st.info("No operator of this collection is on the list; all are shown.")
        return fitted
    return found


def _choose_operator(fitted: pl.DataFrame) -> dict[str, Any]:
    """The chosen operator's row of ``FITTED``: by pair, method and source position, then by key if several remain.

    At first a pair whose target has an SAE, if there is one: of others the page has nothing to say about features.
    """
    _follow_operator(fitted)
    places = st.columns(4)
    titles = {
        "source_layer": "Source layer",
        "target_layer": "Target layer",
        "method": "Method",
        "position_policy": "Source position",
    }
    for (column, title), place in zip(titles.items(), places):
        options = fitted[column].unique().sort(descending=column == "position_policy").to_list()
        if column == "method":
            options = in_method_order(options)
        with_sae = set(fitted.filter("has_sae")[column])
        first = next((option for option in options if option in with_sae), None)
        wanted = choose(title, column, options, where=place, default=first)
        fitted = fitted.filter(pl.col(column) == wanted)
    if fitted.height == 1:
        return fitted.row(0, named=True)
    operator = choose(
        "Operator", "operator", fitted["operator"].to_list(), help="This method was fitted with several settings."
    )
    return fitted.row(by_predicate=pl.col("operator") == operator, named=True)


def _follow_operator(fitted: pl.DataFrame) -> None:
    """Complete an address that names an operator; drop the operator if pair, method or position disagree."""
    found = fitted.filter(pl.col("operator") == st.query_params.get("operator", ""))
    for row in found.iter_rows(named=True):
        pair = {name: str(row[name]) for name in ("source_layer", "target_layer", "method", "position_policy")}
        if all(st.query_params.get(name, value) == value for name, value in pair.items()):
            st.query_params.update(pair)
            return
    st.query_params.pop("operator", None)


LEADERBOARD = """select l.place, operator, if(count(*) over (partition by l.method) > 1, operator, l.method) as name, l.rank, l.alpha,
    l.alpha_at_edge, l.few_tokens, o.n_test, o.n_test_documents, o.r2_test, o.r2_test_low, o.r2_test_high,
    o.r2_weighted, o.r2_weighted_low, o.r2_weighted_high, o.r2_whitened, o.r2_whitened_low, o.r2_whitened_high,
    o.r2_update, o.r2_update_low, o.r2_update_high, o.skill, o.skill_low, o.skill_high, l.r2_over_identity, l.beats_identity
from operator_leaderboard as l inner join operators as o using (collection, operator)
where collection = $collection and l.source_layer = $source_layer and l.target_layer = $target_layer
    and l.position_policy = $position_policy
order by l.place, operator"""


def _scores(chosen: dict[str, Any]) -> None:
    score = choose("Score", "score", list(SCORES), widget="segmented_control") or next(iter(SCORES))
    panel(
        "Residual scores against the baselines",
        filled(LEADERBOARD, **chosen),
        lambda rows: _draw_scores(rows, score, chosen["operator"]),
        note="On test tokens of the pair, with 95 % intervals by document; the chosen operator is blue. r2: averaged "
        "over dimensions. Weighted: by the variance of each dimension. Whitened: every direction counts equally. "
        "Update: r2 of the change that the blocks in between add. Skill: 1 - squared error / squared error of the "
        f"identity map. Values below {LOWEST:g} are drawn at {LOWEST:g}.",
    )


def _draw_scores(rows: pl.DataFrame, score: str, operator: str) -> None:
    own = rows.row(by_predicate=pl.col("operator") == operator, named=True)
    with st.container(horizontal=True):
        for title, column in SCORES.items():
            st.metric(title, "not scored" if own[column] is None else f"{own[column]:.3f}", width=140)
    if own["alpha_at_edge"]:
        st.warning("The chosen alpha is at the edge of its grid: widen `operators.alphas`.")
    if own["few_tokens"]:
        st.warning(
            "Fitted on fewer than ten tokens per dimension: in-sample scores are optimistic and the operator is "
            "unstable."
        )
    column = SCORES[score]
    ends = [value for name in (column, f"{column}_low") for value in rows[name].drop_nulls()]
    scale = alt.Scale(domainMin=max(LOWEST, min([*ends, 0.0])), clamp=True)
    base = alt.Chart(rows.filter(pl.col(column).is_not_null())).encode(
        y=alt.Y("name:N", title=None, sort=rows["name"].to_list(), axis=alt.Axis(labelLimit=220)),
        color=alt.ColorValue("#999999", condition={"test": f"datum.operator == '{operator}'", "value": "#0072B2"}),
        tooltip=[
            alt.Tooltip("name:N"),
            number(column, score),
            number(f"{column}_low", "95 % low"),
            number(f"{column}_high", "95 % high"),
            number("n_test", "test tokens", ",d"),
            number("n_test_documents", "test documents", ",d"),
        ],
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X(f"{column}_low:Q", title=score, scale=scale), x2=alt.X2(f"{column}_high:Q")
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X(f"{column}:Q", title=score, scale=scale)),
    )
    draw_chart(chart.properties(height=alt.Step(24)), alt=f"{score} of every operator of the pair")
    st.dataframe(
        rows.select("place", "name", "rank", "alpha", *SCORES.values(), "r2_over_identity", "beats_identity"),
        hide_index=True,
        column_config=headings(["beats_identity"])
        | headings(["r2_over_identity"], "%.3f")
        | {name: st.column_config.NumberColumn(title, format="%.3f") for title, name in SCORES.items()},
        placeholder="–",
    )
