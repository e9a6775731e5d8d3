"""Two features side by side: measures, transport from every source layer, activations, logit lens, windows and labels."""

from warehouse.catalog.compared.statements import DIFFERENCES_NOTE, Part, at_least, both, differences, drawn, measures

TOKENS = 10
"""Promoted tokens shown of each."""
WINDOWS_SHOWN = 5
"""Windows shown of each."""
LOWEST = -1.0
"""r2 below it is drawn there."""
OWN = "collection = $collection and sae = $sae and feature_id = $feature_id"

_MEASURED = measures(
    f"""with stats as (select * from feature_stats where {OWN}),
scores as (select * from latest_feature_scores where {OWN})
select
    if(t.feature_id is null, s.n_tokens, t.n_tokens) as n_tokens, coalesce(t.n_active, s.n_active) as n_active,
    coalesce(t.activation_rate, s.activation_rate) as activation_rate,
    coalesce(t.n_documents_active, s.n_documents_active) as n_documents_active,
    if(t.feature_id is null, s.mean_activation, t.mean_activation) as mean_activation,
    t.max_activation as max_test, s.max_activation as max_train, s.score, s.rank, s.token_entropy, s.focus_z, s.redundancy, s.deadness,
    s.causal_effect, s.causal_effect_low, s.causal_effect_high, s.n_ablated_documents, s.n_top
from (select 1) left join stats as t on true left join scores as s on true""",
    """
    activation rate | share of tokens | activation_rate | | | n_tokens | tokens
    active documents | documents | n_documents_active | | | n_tokens | tokens
    mean activation | activation, on active tokens | mean_activation | | | n_active | active tokens
    largest activation, test text | activation | max_test | | | n_active | active tokens
    score | of the SAE''s features, 0 to 1 | score | | | |
    rank by score | place in its SAE | rank | | | |
    token entropy | nats | token_entropy | | | n_top | positions
    vocabulary focus | standard deviations | focus_z | | | |
    redundancy | largest absolute correlation | redundancy | | | n_tokens | tokens
    inactive share | share of documents | deadness | | | |
    causal effect | nats | causal_effect | causal_effect_low | causal_effect_high | n_ablated_documents | documents
    """,
)
_R2 = f"""select 100 + source_layer as place, 'r2 from layer ' || source_layer || ', ' || method as quantity,
    'share of variance on active tokens' as unit, r2 as value, r2_low as low, r2_high as high, n_active as n, 'active tokens' as n_of
from feature_profile
where {OWN} and position_policy = 'same' and method = 'ridge'"""
_STORED = """select * from feature_differences
where left_collection = $left_collection and right_collection = $right_collection and sae = $left_sae and sae = $right_sae
    and feature_id = $left_feature_id and feature_id = $right_feature_id and $left_collection <> $right_collection"""
"""One feature in two collections, which `ato run compare` may have compared."""
_COMPARED = "'r2 from layer ' || source_layer || ' to ' || target_layer || ', ' || method || ', of `ato run compare`'"
_MEASURED_IN_BOTH = "\nunion all\n".join(
    f"""select '{side}', 200 + source_layer, {_COMPARED}, 'share of variance on active tokens', {side}_r2, {side}_r2_low, {side}_r2_high,
    {side}_n_active, 'active tokens' from stored"""
    for side in ("left", "right")
)

DIFFERENCES = Part(
    "Differences",
    differences(
        f"{both(_MEASURED)}\nunion all\n{both(_R2)}\nunion all\n{_MEASURED_IN_BOTH}",
        f"""select {_COMPARED} as quantity, difference, difference_low, difference_high, n_documents as n_paired,
    'document' as paired_by
from stored""",
        ctes=f"stored as (\n{_STORED}\n),\n\n",
    ),
    note=f"{DIFFERENCES_NOTE} What each document adds to a feature's r2 is not stored: it has a paired interval where `ato run compare` "
    "has compared the two collections.",
)
TRANSPORT = Part(
    "r2 by source layer",
    f"""select * from (
{
        both(
            f'''select source_layer, target_layer, leap, r2, r2_low, r2_high, ceiling, ceiling_low, ceiling_high, n_active,
    verdict, operator, {drawn("r2", LOWEST)}, {at_least("ceiling", LOWEST)} as drawn_ceiling
from feature_profile
where {OWN} and position_policy = 'same' and method = 'ridge' '''.rstrip()
        )
    }
)
order by side, source_layer""",
    note="r2 of each feature from every source layer by the ridge operator of the token's own position, with 95 % intervals by document; "
    "dashed: its ceiling, the best linear combination fitted on other documents. Each on the test tokens where it is active. "
    f"Values below {LOWEST:g} are drawn there.",
    empty="Neither is evaluated: run `ato run evaluate`.",
)
_LATEST_EVIDENCE = """latest as (
    select f.collection, f.evidence
    from labelled_features as f
    left join run_times as r on r.collection = f.collection and r.key = f.evidence
    where f.collection = $collection and f.sae = $sae and f.feature_id = $feature_id
    order by r.made_at desc nulls last, f.evidence
    limit 1
)"""
ACTIVATIONS = Part(
    "Activations",
    f"""select * from (
{
        both(
            f'''with {_LATEST_EVIDENCE}
select h.bin, if(h.low = 0, h.high / 2, h.low) as low, coalesce(h.high, f.max_activation) as high, h.n, f.n_active, f.n_tokens,
    h.n / nullif(f.n_active, 0) as share
from feature_histograms as h
semi join latest using (collection, evidence)
left join labelled_features as f using (collection, evidence, feature_id)
where h.feature_id = $feature_id'''
        )
    }
)
order by side, bin""",
    note="Share of the active tokens of each by activation; ranges are a quarter of an octave. Activations of two SAEs have no "
    "common unit.",
    empty="Neither has a histogram: `ato run label` counts those of the features that it labels.",
)
LOGIT_LENS = Part(
    "Logit lens",
    f"""select *, least(min(logit) over (), 0) as lowest, greatest(max(logit) over (), 0) as highest from (
{
        both(
            f'''with scores as (select * from latest_feature_scores where {OWN}),
lens as (
    select 'promoted' as direction, unnest(top_tokens) as token, unnest(top_logits) as logit, generate_subscripts(top_tokens, 1) as place
    from scores
    union all
    select 'suppressed', unnest(bottom_tokens), unnest(bottom_logits), generate_subscripts(bottom_tokens, 1) from scores
)
select direction, place, place || '. ' || replace(replace(token, ' ', '·'), chr(10), '↵') as label, token, logit
from lens
where token is not null and place <= {TOKENS}'''
        )
    }
)
order by side, direction, place""",
    note="Logit of each token when the unembedding reads the decoder row, on one axis: promoted tokens, then suppressed ones. `·` is a "
    "space, `↵` a line break.",
    empty="No logit lens yet: run `ato run features`.",
)
WINDOWS = Part(
    "Strongest examples",
    f"""select * from (
{
        both(
            f'''with {_LATEST_EVIDENCE},
scored as (
    select evaluation as scoring from latest_evaluations
    where collection = $collection and sae = $sae and kind = 'feature_scores' and is_latest
),
windows as (
    select 1 as source, kind, rank, quantile, collection, sae, feature_id, sequence_id, position, activation, start, tokens, activations
    from feature_examples semi join scored using (scoring)
    where {OWN} and kind = 'top' and rank <= {WINDOWS_SHOWN}
    union all
    select 2, kind, rank, quantile, collection, null, feature_id, sequence_id, position, activation, start, tokens, activations
    from example_windows semi join latest using (collection, evidence)
    where feature_id = $feature_id and kind = 'top' and rank <= {WINDOWS_SHOWN}
)
select * exclude (source), max(list_max(activations)) over () as largest
from windows
where source = (select min(source) from windows)'''
        )
    }
)
order by side, rank""",
    note=f"The {WINDOWS_SHOWN} strongest windows of each. Deeper colour: larger activation, relative to the largest one shown of the same "
    "feature; hover over a token for its value.",
    empty="No examples of either: run `ato run features`.",
)
LABELS = Part(
    "Labels",
    f"""select * from (
{
        both(
            f'''with own as (select * from feature_labelled where {OWN}),
told as (select * from explanations where {OWN})
select judge as source, description, detection, detection_low, detection_high, failed, reason from own
union all
select source || coalesce(', ' || explainer, ''), description, null, null, null, not aligned, null from told'''
        )
    }
)
order by side, detection desc nulls last, source, description
limit 20""",
    note="Descriptions by judges, with their detection on other documents (balanced accuracy, 0.5 is chance, 95 % interval), and published "
    "explanations; a label fails unless the interval lies above chance, an explanation if its top tokens are others.",
    empty="Neither has a label: `ato run label`, or `ato run explain`.",
)


def _link(sql: str, here: str, there: str) -> str:
    """A select about the left feature beside the right one, and the same the other way round."""
    return "\nunion all\n".join(
        f"{sql} where collection = $left_collection and collection = $right_collection and {here.format(s=a)} and {there.format(s=b)}"
        for a, b in (("left", "right"), ("right", "left"))
    )


_SAE_AND_FEATURE = "sae = ${s}_sae and feature_id = ${s}_feature_id"
LINKS = Part(
    "What links them",
    f"""with found as (
{
        _link(
            "select 'nearest decoder row, operator''s evaluation' as link, decoder_cosine as value, null::double as low, "
            "null::double as high, 'cosine' as unit from feature_links",
            _SAE_AND_FEATURE,
            "other_sae = ${s}_sae and nearest_feature = ${s}_feature_id",
        )
    }
union all
{
        _link(
            "select 'share of the pre-activation that comes from the other', through, through_low, through_high, 'share' "
            "from feature_links",
            _SAE_AND_FEATURE,
            "other_sae = ${s}_sae and nearest_feature = ${s}_feature_id",
        )
    }
union all
{
        _link(
            "select 'most alike in a lower layer: decoder rows', decoder_cosine, null, null, 'cosine' from feature_families",
            _SAE_AND_FEATURE,
            "source_sae = ${s}_sae and source_feature = ${s}_feature_id",
        )
    }
union all
{
        _link(
            "select 'most alike in a lower layer: tokens on which both fire', activation_jaccard, jaccard_low, jaccard_high, "
            "'share of tokens on which either does' from feature_families",
            _SAE_AND_FEATURE,
            "source_sae = ${s}_sae and source_feature = ${s}_feature_id",
        )
    }
union all
{
        _link(
            "select if(method = 'decoder', 'neighbour by decoder row', 'neighbour by firing together'), value, null, null, "
            "if(method = 'decoder', 'cosine', 'correlation (phi)') from feature_neighbours",
            _SAE_AND_FEATURE + " and $left_sae = $right_sae",
            "neighbour = ${s}_feature_id",
        )
    }
union all
{
        _link(
            "select 'most correlated feature of the SAE', redundancy, null, null, 'absolute correlation' from latest_feature_scores",
            _SAE_AND_FEATURE + " and $left_sae = $right_sae",
            "redundant_with = ${s}_feature_id",
        )
    }
)
select link, max(value) as value, arg_max_null(low, found.value) as low, arg_max_null(high, found.value) as high, unit
from found where value is not null group by link, unit order by link""",
    note="What tables say of these two together: cosines of decoder rows, correlations, shared tokens, with 95 % intervals by document "
    "where there are any; the largest where both say one, or several operators do.",
    empty="No table says anything of these two together.",
)
PARTS = DIFFERENCES, TRANSPORT, ACTIVATIONS, LOGIT_LENS, WINDOWS, LABELS, LINKS
