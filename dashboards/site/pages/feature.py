"""Page ``feature``: everything known about one feature."""

from typing import Any

import altair as alt

from ato.operators.methods import METHODS
from dashboards.site.charts import estimate, lines
from dashboards.site.declarations import Choice, Column, Link, Page, Panel
from dashboards.site.pages.features import SAES
from dashboards.ui.charts import method_colours, number
from dashboards.ui.declared import TO_FEATURE, TO_OPERATOR, interval
from dashboards.views.features.causal import EFFECT
from dashboards.views.features.label import JUDGED, LABELS
from dashboards.views.features.transport import LEAST_R2
from warehouse.catalog.compared.statements import drawn

TO_TRIALS = Link("labelled", {name: name for name in ("sae", "feature_id", "judge")})

IDS = """select feature_id
from feature_catalog
where collection = $collection and sae = $sae
order by score desc nulls last, feature_id"""
OF_FEATURE = "collection = $collection and sae = $sae and feature_id = $feature_id"
MEASURES = f"""select
    f.sae, f.layer, f.feature_id, s.n_active, s.activation_rate, s.n_documents_active, s.mean_activation, s.max_activation, s.n_tokens,
    f.score, f.rank, f.selected, f.token_entropy, f.focus_z, f.redundancy, f.deadness, f.causal_effect, f.causal_effect_low,
    f.causal_effect_high, f.n_ablated_documents
from feature_catalog as f
left join feature_stats as s using (collection, sae, feature_id)
where {OF_FEATURE}"""
COLUMNS = (
    Column("sae", "SAE"),
    Column("layer", "layer", "integer"),
    Column("feature_id", "feature"),
    Column("activation_rate", "activation rate", "percent"),
    Column("n_active", "active test tokens", "integer"),
    Column("n_tokens", "test tokens", "integer"),
    Column("n_documents_active", "active documents", "integer"),
    Column("mean_activation", "mean activation"),
    Column("max_activation", "largest activation"),
    Column("score", "quality score"),
    Column("rank", "rank", "integer"),
    Column("selected", "selected"),
    Column("token_entropy", "token entropy (nats)"),
    Column("focus_z", "vocabulary focus (sd)"),
    Column("redundancy", "redundancy"),
    *interval("causal_effect", "causal effect (nats)"),
    Column("n_ablated_documents", "ablated documents", "integer"),
)
LENS = f"""select
    unnest(range(1, len(top_tokens) + 1)) as place, unnest(top_tokens) as promoted, unnest(top_logits) as promoted_logit,
    unnest(bottom_tokens) as suppressed, unnest(bottom_logits) as suppressed_logit
from latest_feature_scores
where {OF_FEATURE}
order by place"""
EXAMPLES = f"""select
    kind, rank, quantile, sequence_id, position, activation, start, tokens, activations, max(list_max(activations)) over () as largest,
    sae, feature_id
from feature_examples
where {OF_FEATURE}
qualify scoring = max(scoring) over ()
order by kind = 'top' desc, kind, rank"""
EXPLANATIONS = f"""select description, source, explainer, score, alignment, aligned
from explanations
where {OF_FEATURE}
order by aligned desc nulls last, score desc nulls last, source, explanation_id"""
PROFILE = f"""select
    method, position_policy, source_layer, target_layer, leap, r2, r2_low, r2_high, ceiling, skill,
    verdict, n_active, transported_leap, stops_at_leap,
    {drawn("r2", LEAST_R2)}
from feature_profile
where {OF_FEATURE} and position_policy = coalesce($position_policy, 'same')
order by method <> 'ridge', method, leap"""
NEIGHBOURS = f"""with own as (
    select redundant_with, redundancy
    from latest_feature_scores
    where {OF_FEATURE}
),

pairs as (
    select redundant_with as feature_id, redundancy as correlation
    from own
    where redundant_with is not null
    union
    select feature_id, redundancy
    from latest_feature_scores
    where collection = $collection and sae = $sae and redundant_with = $feature_id
)

select p.feature_id, max(p.correlation) as correlation, any_value(s.top_tokens[:5]) as promotes, any_value(s.score) as score, s.sae
from pairs as p
inner join latest_feature_scores as s on s.collection = $collection and s.sae = $sae and s.feature_id = p.feature_id
group by p.feature_id, s.sae
order by correlation desc, p.feature_id
limit 50"""
POLICIES = """select distinct position_policy
from operators
where collection = $collection and target_layer = (select layer from saes where collection = $collection and sae = $sae)
order by position_policy = 'same' desc, position_policy"""
NOTHING = "No such feature in this SAE."
R2_NOTE = (
    "r2 along the feature's direction on the test tokens where it is active: 1 is perfect, 0 no better than the mean; bars are 95 % "
    f"intervals by document. Values below {LEAST_R2:g} are drawn there."
)


def profile(by: str, by_title: str, **drawn: Any) -> alt.LayerChart | alt.FacetChart:
    """r2 by leap, a line for each value of a column, ``drawn`` as ``lines`` takes it."""
    tooltip = [
        alt.Tooltip(f"{by}:N", title=by_title),
        number("source_layer", "source layer", "d"),
        number("leap", "leap", "d"),
        *estimate("r2", "r2"),
        alt.Tooltip("verdict:N"),
        number("n_active", "active test tokens", ",d"),
    ]
    return lines(
        "leap",
        "drawn",
        x_title="leap (layers)",
        y_title="r2 on active tokens",
        by=by,
        by_title=None,
        tooltip=tooltip,
        **drawn,
    )


def page(with_text: bool) -> Page:
    """The page of a feature."""
    panels = [
        Panel(
            "The feature in numbers",
            MEASURES,
            note="Activity on test text. Causal effect: increase in next-token loss after ablating it, with its 95 % interval by "
            "document; measured for the candidates only, and no other feature has a score.",
            empty=NOTHING,
            view="facts",
            columns=COLUMNS,
        ),
        Panel(
            "Label",
            LABELS,
            note=f"{JUDGED} A row leads to its trials.",
            empty="Not labelled.",
            columns=(
                Column("description", "description"),
                Column("judge", "judge"),
                *interval("detection", "detection"),
                Column("fuzzing", "fuzzing"),
                Column("failed", "fails"),
            ),
            link=TO_TRIALS,
        ),
        Panel(
            "Where does it stop being transported?",
            PROFILE,
            note=f"{R2_NOTE} Ceiling: r2 of the best linear combination of predictions. A row leads to its operator.",
            empty="No operators into this layer evaluated.",
            view="chart",
            chart=profile("method", "method", colours=method_colours(list(METHODS))),
            alt="r2 of the feature by leap, a line for each method",
            columns=(
                Column("source_layer", "source", "integer"),
                Column("leap", "leap", "integer"),
                Column("method", "method"),
                Column("verdict", "verdict"),
                *interval("r2", "r2"),
                Column("skill", "skill"),
                Column("ceiling", "ceiling"),
                Column("n_active", "active test tokens", "integer"),
            ),
            link=TO_OPERATOR,
        ),
        Panel(
            "Logit lens",
            LENS,
            note="Logit of each token when the unembedding reads the decoder row: promoted and suppressed tokens.",
            empty="No logit lens.",
            wide=False,
            columns=(
                Column("promoted", "promotes", "list"),
                Column("promoted_logit", "logit"),
                Column("suppressed", "suppresses", "list"),
                Column("suppressed_logit", "logit"),
            ),
        ),
        Panel(
            "Similar features",
            NEIGHBOURS,
            note="By |correlation| of activations, at most 50. A row leads to its feature.",
            empty="No similar features found.",
            wide=False,
            columns=(
                Column("feature_id", "feature"),
                Column("correlation", "|correlation|"),
                Column("promotes", "promotes", "list"),
                Column("score", "quality score"),
            ),
            link=TO_FEATURE,
        ),
        Panel(
            "Causal effect",
            EFFECT.replace("$layer", "(select layer from saes where collection = $collection and sae = $sae)"),
            note="Change of the log-perplexity (nats per token) where only this feature is transported or ablated, with 95 % intervals.",
            empty="No intervention on this feature.",
            columns=(
                Column("leap", "leap", "integer"),
                Column("method", "method"),
                Column("intervention", "edit"),
                *interval("delta_log_ppl", "change"),
                Column("n_sequences", "sequences", "integer"),
                Column("n_documents", "documents", "integer"),
            ),
        ),
        Panel(
            "Explanations",
            EXPLANATIONS,
            note="Published descriptions. Aligned: enough of the published top tokens are among those that this feature promotes.",
            empty="No explanation available.",
        ),
    ]
    if with_text:
        panels.insert(2, windows("Activating examples", EXAMPLES))
    return Page(
        "feature",
        "Feature",
        "What is known about one feature?",
        (
            Choice("sae", "SAE", SAES),
            Choice("feature_id", "Feature", IDS, kind="number"),
            Choice("position_policy", "Source position", POLICIES),
        ),
        tuple(panels),
        listed=False,
        compared="feature:$sae/$feature_id",
    )


def windows(title: str, sql: str, *, wide: bool = True) -> Panel:
    """Texts in which a feature is active."""
    return Panel(
        title,
        sql,
        note="Deeper colour: larger activation, relative to the largest one shown; the underlined token is the peak. Train text. `·` is "
        "a space and `↵` a line break in a coloured token. The line below a window leads to its text.",
        empty="No examples: they are stored for the selected features.",
        view="windows",
        link=Link("text", {name: name for name in ("sequence_id", "sae", "feature_id")}),
        wide=wide,
    )
