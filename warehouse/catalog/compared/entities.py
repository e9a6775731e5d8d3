"""Two entities side by side: what the model knows of them, its answers, and the features that are active on both."""

from warehouse.catalog.compared.statements import DIFFERENCES_NOTE, Part, both, differences, mean_of_pairs, measures

OWN = "collection = $collection and entity_id = $entity_id"

_FACTS = measures(
    f"select * from entity_knowledge where {OWN}",
    """
    attributes asked | attributes | n_asked | | | |
    attributes known | attributes | n_right | | | n_asked | attributes
    right answers | share of samples | share_correct | | | n_asked | attributes
    withheld answers | share of samples | share_abstain | | | n_asked | attributes
    confidence | nats per token | confidence | | | n_asked | attributes
    popularity | inhabitants, votes or the like | popularity | | | |
    tokens of the name | tokens | n_tokens | | | |
    characters of the name | characters | n_characters | | | |
    frequency of its tokens | mean log(1 + occurrences) | token_frequency | | | |
    """,
)
_GRADES = f"""select a.attribute, a.family, avg((a.grade = 'correct')::int) as share_correct, count(*) as n_samples
from entity_answers as a
inner join entity_knowledge as k on k.collection = a.collection and k.entity_id = a.entity_id and k.answering = a.answering
where a.{OWN.replace(" and entity_id", " and a.entity_id")}
group by all"""
_CTES = f"""graded as (
{both(_GRADES)}
),

shared as (
    select attribute, family, l.share_correct as left_value, r.share_correct as right_value, l.n_samples as left_n, r.n_samples as right_n,
        r.share_correct - l.share_correct as difference
    from (from graded where side = 'left') as l
    inner join (from graded where side = 'right') as r using (attribute, family)
)"""
_SHARED = "right answers on shared attributes"
DIFFERENCES = Part(
    "Differences",
    differences(
        f"""{both(_FACTS)}
union all
select 'left', 50, '{_SHARED}', 'share of samples', avg(left_value), null, null, sum(left_n)::bigint, 'samples'
from shared having count(*) > 0
union all
select 'right', 50, '{_SHARED}', 'share of samples', avg(right_value), null, null, sum(right_n)::bigint, 'samples'
from shared having count(*) > 0""",
        mean_of_pairs("shared", "attribute", f"'{_SHARED}'"),
        ctes=f"{_CTES},\n\n",
    ),
    note=f"{DIFFERENCES_NOTE} Attributes that both were asked about are paired, from five on with an interval (Student's t): it says "
    "how the two differ over attributes.",
)
ANSWERS = Part(
    "Answers",
    f"""select * from (
{
        both(
            '''select a.attribute, a.family, t.value as right_answer, a.completion, a.grade, a.p_correct, a.log_probability
from entity_answers as a
inner join entity_knowledge as k on k.collection = a.collection and k.entity_id = a.entity_id and k.answering = a.answering
left join entity_attributes as t
    on t.collection = k.collection and t.entity_set = k.entity_set and t.entity_id = k.entity_id and t.attribute = a.attribute
where a.collection = $collection and a.entity_id = $entity_id and a.sample = 0'''
        )
    }
)
order by attribute, family, side, completion""",
    note="The greedy answer to each question, without its prompt. p correct: probability of the right answer against distractors.",
    empty="Neither was asked: run `ato run entities --profile demo-entities`.",
)
LATENTS = Part(
    "Active features",
    """with ranked as (
    select * from entity_latent_ranking
    where collection = $left_collection and $left_collection = $right_collection
    qualify row_number() over (
        partition by contrast, template, position, sae, feature_id order by entity_type = 'all' desc, rank, entity_type
    ) = 1
),

active as (
    select contrast, template, position, sae, feature_id, latent_scoring,
        max(activation) filter (where entity_id = $left_entity_id) as left_activation,
        max(activation) filter (where entity_id = $right_entity_id) as right_activation
    from entity_activations
    where collection = $left_collection and entity_id in ($left_entity_id, $right_entity_id)
    group by all
)

select replace(r.contrast, '_', ' against ') as contrast, replace(r.template, '_', ' ') as template,
    replace(r.position, '_', ' ') as position, r.direction, r.rank, r.layer, r.feature_id, a.left_activation, a.right_activation,
    a.right_activation - a.left_activation as difference, r.top_tokens[:3] as promotes, r.sae
from active as a
inner join ranked as r using (latent_scoring, contrast, template, position, sae, feature_id)
order by r.contrast, r.template, r.position, greatest(coalesce(a.left_activation, 0), coalesce(a.right_activation, 0)) desc,
    r.sae, r.feature_id
limit 300""",
    note="Ranked features that are active on one of the two, each with its activation; –: silent there, or not read at "
    "that prompt and position.",
    empty="No ranked feature is active on either, or the two are of different collections, which have other features.",
)
PARTS = DIFFERENCES, ANSWERS, LATENTS
