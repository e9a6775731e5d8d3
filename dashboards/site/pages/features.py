"""Page ``features``: search for features of the SAEs."""

from dashboards.site.declarations import Choice, Column, Link, Page, Panel
from dashboards.site.texts import NAME
from dashboards.ui.declared import TO_FEATURE

SAES = """select sae, 'layer ' || layer || ': ' || sae
from saes
where collection = $collection
order by layer, sae"""
IN_EXAMPLES = """    union all
    select sae, feature_id, 'example', 4, max(activation)
    from (
        select sae, feature_id, unnest(tokens) as token, unnest(activations) as activation
        from feature_examples
        where collection = $collection and contains(lower(array_to_string(tokens, ' ')), lower($search))
    )
    where activation > 0 and contains(lower(token), lower($search))
    group by sae, feature_id
"""
FOUND = """with matches (sae, feature_id, found_in, place, strength) as (
    select sae, feature_id, null, 0, null
    from feature_catalog
    where collection = $collection and $search is null
    union all
    select sae, feature_id, 'id', 0, null
    from feature_catalog
    where collection = $collection and feature_id = try_cast($search as integer)
    union all
    select sae, feature_id, 'label', 1, max(detection)
    from feature_labelled
    where collection = $collection and contains(lower(description), lower($search))
    group by sae, feature_id
    union all
    select sae, feature_id, 'explanation', 2, max(explanation_score)
    from feature_catalog
    where collection = $collection and contains(lower(explanation), lower($search))
    group by sae, feature_id
    union all
    select sae, feature_id, 'promoted token', 3, null
    from feature_catalog
    where collection = $collection and contains(lower(array_to_string(top_tokens, ' ')), lower($search))
{in_examples}),

best as (
    from matches
    qualify row_number() over (partition by sae, feature_id order by place, strength desc nulls last) = 1
),

labels as (
    select sae, feature_id, description as label, detection
    from feature_labelled
    where collection = $collection
    qualify row_number() over (partition by sae, feature_id order by detection desc nulls last, judge) = 1
)

select
    c.feature_id, c.layer, b.found_in, c.score, c.activation_rate, c.transported_leap, c.stops_at_leap,
    c.top_tokens[:5] as promotes, coalesce(l.label, c.explanation) as label, l.detection, c.sae, count(*) over () as n_found
from best as b
inner join feature_catalog as c on c.collection = $collection and c.sae = b.sae and c.feature_id = b.feature_id
left join labels as l on l.sae = b.sae and l.feature_id = b.feature_id
where ($sae is null or c.sae = $sae) and (c.selected or $features = 'all')
order by b.place, b.strength desc nulls last, c.score desc nulls last, c.sae, c.feature_id
limit 200"""

AROUND = "substr(t.text, greatest(1, instr(lower(t.text), lower($search)) - 60), 180)"
TEXTS = f"""with examples as (
    select sequence_id, count(distinct (sae, feature_id)) as n_features
    from feature_examples
    where collection = $collection
    group by sequence_id
)

select t.sequence_id, t.document, regexp_replace({AROUND}, '\\s+', ' ', 'g') as around, e.n_features, count(*) over () as n_found
from {NAME} as t
left join examples as e using (sequence_id)
where t.collection = $collection and contains(lower(t.text), lower($search))
order by e.n_features desc nulls last, t.sequence_id
limit 100"""
TEXTS_FOUND = Panel(
    "Texts found",
    TEXTS,
    note="Sequences of the train text that say so, at most 100, those first in which the most features have examples. A row leads to the "
    "text and to what is active in it.",
    empty="Search for a word of a text. Only texts are published that an example is from.",
    columns=(
        Column("sequence_id", "sequence"),
        Column("around", "text"),
        Column("n_features", "features with examples", "integer"),
        Column("document", "document"),
    ),
    link=Link("text", {"sequence_id": "sequence_id"}),
)


def page(with_text: bool, with_texts: bool) -> Page:
    """The search.

    Args:
        with_text: whether it may look in tokens of examples.
        with_texts: whether the texts are there that examples are from.
    """
    looked = "ids, labels, explanations, promoted tokens" + (" and tokens of examples" if with_text else "")
    return Page(
        "features",
        "Features",
        "Which feature is about something, and how far is it transported?",
        (
            Choice("search", "Search", kind="text", empty="feature id, word of a label, or token"),
            Choice("sae", "SAE", SAES, empty="all"),
            Choice("features", "Features", ("all", "selected")),
        ),
        (
            Panel(
                "Features found",
                FOUND.format(in_examples=IN_EXAMPLES if with_text else ""),
                note=f"At most 200 rows. Looks in {looked}; without a search, by quality score, which only candidates have. Transported "
                "to: the largest leap without a gap, by the ridge operator. A row leads to its feature.",
                empty="No feature found. Shorten the search or clear the filters.",
                columns=(
                    Column("feature_id", "feature"),
                    Column("layer", "layer", "integer"),
                    Column("found_in", "found in"),
                    Column("score", "quality score"),
                    Column("activation_rate", "activation rate", "percent"),
                    Column("transported_leap", "transported to leap", "integer"),
                    Column("stops_at_leap", "stops at leap", "integer"),
                    Column("promotes", "promotes", "list"),
                    Column("label", "label or explanation"),
                    Column("sae", "SAE"),
                ),
                link=TO_FEATURE,
            ),
            *([TEXTS_FOUND] if with_texts else []),
        ),
    )
