"""Page ``operators``: one transport operator beside the others of its layer pair."""

import altair as alt

from dashboards.site.charts import intervals
from dashboards.site.declarations import Choice, Column, Page, Panel
from dashboards.site.measures import chosen_column
from dashboards.ui.chart_theme import WHOLE
from dashboards.ui.charts import number
from dashboards.ui.declared import ROWS, TO_FEATURE, interval
from dashboards.views.operators.page import LEADERBOARD, LOWEST, SCORES
from dashboards.views.operators.ranks import EFFICIENCY_CURVES, LOWEST_R2, RANK_CURVES, RANKS
from warehouse.catalog.compared.statements import drawn

WITH_SAE = "(select layer from saes where collection = $collection)"
SOURCES = f"""select source_layer
from operators
where collection = $collection
group by source_layer
order by bool_or(target_layer in {WITH_SAE}) desc, source_layer"""
TARGETS = f"""select target_layer
from operators
where collection = $collection and source_layer = $source_layer
group by target_layer
order by target_layer in {WITH_SAE} desc, target_layer"""
OF_PAIR = "collection = $collection and source_layer = $source_layer and target_layer = $target_layer"
METHODS = f"""select method
from operators
where {OF_PAIR}
group by method
order by method <> 'ridge', method"""
POLICIES = f"""select position_policy
from operators
where {OF_PAIR} and method = $method
group by position_policy
order by position_policy desc"""
BOARD = f"""with board as (
{LEADERBOARD}
)

select *, {chosen_column("score", SCORES)} as shown, {chosen_column("score", SCORES, "_low")} as shown_low,
    {chosen_column("score", SCORES, "_high")} as shown_high, {drawn("shown", LOWEST)}
from board
order by place, operator"""


def _folded(curves: dict[str, tuple[str, str]], with_interval: str, lowest: float) -> str:
    """RANKS with a row for each rank and curve."""
    names = ", ".join(f"'{title}'" for title, _ in curves.values())
    ends = {end: ", ".join(f"{c}{end}" if c == with_interval else "null" for c in curves) for end in ("_low", "_high")}
    return f"""with ranks as (
{RANKS}
)

select
    rank, d_kept, n_train, n_test, unnest([{names}]) as curve, unnest([{", ".join(curves)}]) as value,
    unnest([{ends["_low"]}]) as value_low, unnest([{ends["_high"]}]) as value_high, {drawn("value", lowest)}
from ranks
order by curve, rank"""


CHOSEN = f"""select operator
from operators
where {OF_PAIR} and method = $method and position_policy = $position_policy
order by r2_val desc nulls last, operator
limit 1"""
FEATURES = f"""with chosen as (
{CHOSEN}
)

select
    p.feature_id, p.r2, p.r2_low, p.r2_high, p.verdict, p.skill, p.ceiling, p.n_active,
    c.activation_rate, c.score, c.top_tokens[:5] as promotes, p.sae
from feature_profile as p
semi join chosen using (operator)
left join feature_catalog as c on c.collection = p.collection and c.sae = p.sae and c.feature_id = p.feature_id
where p.collection = $collection and p.r2 is not null
order by p.r2 desc, p.sae, p.feature_id"""
NOTHING = "No operators in this collection."
NOT_EVALUATED = "Not evaluated for this pair."


def page() -> Page:
    """The page of a layer pair and method."""
    tooltip = [
        alt.Tooltip("name:N"),
        number("shown", "$score"),
        number("shown_low", "95 % from"),
        number("shown_high", "to"),
        number("n_test", "test tokens", ",d"),
        number("n_test_documents", "test documents", ",d"),
    ]
    return Page(
        "operators",
        "Operators",
        "How good is a linear map of a layer pair, against baselines and ceilings?",
        (
            Choice("source_layer", "Source layer", SOURCES),
            Choice("target_layer", "Target layer", TARGETS),
            Choice("method", "Method", METHODS),
            Choice("position_policy", "Source position", POLICIES),
            Choice("score", "Score", tuple(SCORES)),
            Choice("operator", "Operator", CHOSEN, kind="state"),
        ),
        (
            Panel(
                "Residual scores against the baselines",
                BOARD,
                note="On test tokens of the pair, with 95 % intervals by document. r2: averaged over dimensions. Weighted: by the "
                "variance of each dimension. Whitened: every direction counts equally. Update: r2 of the change that the blocks in "
                "between add. Skill: 1 - squared error / squared error of the identity map. Values below -1 are drawn at -1.",
                empty=NOTHING,
                view="chart",
                chart=intervals("drawn", "name", title="$score", tooltip=tooltip),
                alt="The score of every operator of the pair, with its interval",
            ),
            Panel(
                "Operators of the pair",
                BOARD,
                note="By r2 on test tokens. Over identity: r2 less that of the identity map.",
                empty=NOTHING,
                columns=(
                    Column("place", "place", "integer"),
                    Column("name", "operator"),
                    Column("rank", "rank", "integer"),
                    Column("alpha", "alpha"),
                    *(Column(column, name) for name, column in SCORES.items()),
                    Column("r2_over_identity", "over identity", "signed"),
                    Column("beats_identity", "beats it"),
                ),
            ),
            Panel(
                "Rank and ceiling",
                _folded(RANK_CURVES, "r2_rrr", LOWEST_R2),
                note="Whitened r2 on test tokens of the best map of each rank, with 95 % intervals by document, beside the ceiling of "
                "every linear map of that rank and the permutation null. As published: truncated SVD of the fitted operator. Values "
                "below -0.2 are drawn there.",
                empty=NOT_EVALUATED,
                view="chart",
                chart=_by_rank(RANK_CURVES, "whitened r2"),
                alt="Whitened r2 against rank, with its ceiling",
                wide=False,
            ),
            Panel(
                "Transport efficiency",
                _folded(EFFICIENCY_CURVES, "efficiency", LOWEST),
                note="Whitened r2 divided by the ceiling of the same rank; 1 is the most a linear map can carry. Values below -1 are "
                "drawn at -1.",
                empty=NOT_EVALUATED,
                view="chart",
                chart=_by_rank(EFFICIENCY_CURVES, "transport efficiency"),
                alt="Transport efficiency against rank",
                wide=False,
            ),
            Panel(
                "Features that it transports",
                FEATURES,
                note="Scored features of the SAE at the target under the chosen operator (of several settings the best on validation "
                "tokens), with 95 % intervals by document. Skill: against the identity map. A row leads to its feature.",
                empty="No features evaluated for this operator (its target needs an SAE).",
                columns=(
                    Column("feature_id", "feature"),
                    *interval("r2", "r2"),
                    Column("verdict", "verdict"),
                    Column("skill", "skill"),
                    Column("ceiling", "ceiling"),
                    Column("n_active", "active test tokens", "integer"),
                    Column("score", "quality score"),
                    Column("promotes", "promotes", "list"),
                    Column("sae", "SAE"),
                ),
                link=TO_FEATURE,
            ),
        ),
        compared="operator:$operator",
    )


def _by_rank(curves: dict[str, tuple[str, str]], title: str) -> alt.TopLevelMixin:
    colours = dict(curves.values())
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "rank:Q",
            title="rank",
            scale=alt.Scale(type="log", base=2, nice=False, padding=10),
            axis=WHOLE,
        ),
        color=alt.Color(
            "curve:N",
            title=None,
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        ),
        tooltip=[
            number("rank", "rank", "d"),
            alt.Tooltip("curve:N"),
            number("value", title),
            number("value_low", "95 % from"),
            number("value_high", "to"),
            number("n_train", "train tokens", ",d"),
            number("n_test", "test tokens", ",d"),
        ],
    )
    y = alt.Y("drawn:Q", title=title)
    ends = base.mark_rule(strokeWidth=1.5, opacity=0.7)
    return alt.layer(
        ends.encode(y=alt.Y("drawn_low:Q", title=title), y2=alt.Y2("drawn_high:Q")),
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=25, opacity=1).encode(y=y),
    )
