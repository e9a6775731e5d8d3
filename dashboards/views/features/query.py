"""The SQL of a search for features."""

from dataclasses import dataclass

from dashboards.ui.lists import LISTED
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_EVALUATIONS
from warehouse.catalog.feature_names import FeatureName, feature_name

ANY = "any"
"""No filter on the verdict."""
MATCHES = {
    "ids": "    select sae, feature_id, 'id' as found_in, 0 as place, true as exact, null as strength\n"
    "    from features\n    where feature_id = $id and coalesce(layer = $layer_of_id, true) and coalesce(sae = $sae_of_id, true)",
    "explanations": """    select sae, feature_id, 'explanation', 1, true, max(score)
    from explanations
    where {filters} and contains(lower(description), lower($text))
    group by sae, feature_id""",
    "examples": """    select sae, feature_id, 'example', 2, bool_or(trim(lower(token)) = lower($text)), max(activation)
    from (
        select sae, feature_id, unnest(tokens) as token, unnest(activations) as activation
        from feature_examples
        semi join latest using (scoring, sae)
        where {filters} and contains(lower(array_to_string(tokens, ' ')), lower($text))
    )
    where activation > 0 and contains(lower(token), lower($text))
    group by sae, feature_id""",
    "promoted words": """    select sae, feature_id, 'promoted word', 3, bool_or(trim(lower(token)) = lower($text)), max(logit)
    from (
        select sae, feature_id, unnest(top_tokens) as token, unnest(top_logits) as logit
        from scored
        where contains(lower(array_to_string(top_tokens, ' ')), lower($text))
    )
    where contains(lower(token), lower($text))
    group by sae, feature_id""",
}
"""Where to look -> the matches: kind, order of the kind, whether the whole word matches, and strength."""

ALL = "    select sae, feature_id, null as found_in, 0 as place, true as exact, null as strength from features"

AT_LEAP = """at_leap as (
    select sae, feature_id
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    where {filters} and leap = $leap and verdict = $verdict
),

"""

FIND = """with latest as (
    select evaluation as scoring, sae
    from latest_evaluations
    where {filters} and kind = 'feature_scores' and is_latest
),

scored as (
    select sae, layer, feature_id, selected, score, activation_rate, top_tokens, top_logits
    from feature_scores
    semi join latest using (scoring, sae)
    where {filters}
),

features as (
    select
        sae,
        layer,
        feature_id,
        coalesce(s.selected, false) as selected,
        s.score,
        coalesce(t.activation_rate, s.activation_rate) as activation_rate,
        s.top_tokens[:5] as promotes
    from (select sae, layer, feature_id, activation_rate from feature_stats where {filters}) as t
    full join scored as s using (sae, layer, feature_id)
),

{judged},

{at_leap}matches (sae, feature_id, found_in, place, exact, strength) as (
{matches}
),

found as (
    select
        f.*,
        m.place,
        m.exact,
        m.strength,
        m.found_in,
        count(*) over () as n_found
    from (
        from matches
        qualify row_number() over (
            partition by sae, feature_id
            order by exact desc, place, strength desc nulls last
        ) = 1
    ) as m
    inner join features as f using (sae, feature_id){kept}
    order by m.exact desc, m.place, m.strength desc nulls last, f.score desc nulls last, sae, feature_id
    limit 200
),

here as (
    select sae, feature_id, r2, verdict
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    semi join found using (sae, feature_id)
    where {filters} and leap = $leap
),

verdicts as (
    select sae, feature_id, list(leap || ': ' || verdict order by leap) as verdicts
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    semi join found using (sae, feature_id)
    where {filters}
    group by sae, feature_id
),

explained as (
    select sae, feature_id, description as explanation
    from explanations
    semi join found using (sae, feature_id)
    where {filters}
    qualify row_number() over (
        partition by sae, feature_id
        order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
)

select
    f.feature_id,
    f.sae,
    f.layer,
    f.promotes,
    h.r2,
    h.verdict,
    e.explanation,
    f.score,
    f.activation_rate,
    v.verdicts,
    f.found_in,
    f.strength,
    f.n_found
from found as f
left join here as h using (sae, feature_id)
left join verdicts as v using (sae, feature_id)
left join explained as e using (sae, feature_id)
order by f.exact desc, f.place, f.strength desc nulls last, f.score desc nulls last, f.sae, f.feature_id"""


@dataclass(frozen=True)
class Search:
    """A search among the features of a collection."""

    collection: str
    sae: str | None = None
    """None: all SAEs."""
    text: str = ""
    look_in: str = "everything"
    selected: bool = False
    leap: int | None = None
    verdict: str = ANY
    """Verdict at ``leap``, as the tables store it."""
    list: str | None = None
    """None: whether or not on a list."""

    @property
    def named(self) -> FeatureName | None:
        """The feature that the text names, if it names one."""
        return feature_name(self.text)


def statement(search: Search) -> str:
    """The SQL of a search, with only the CTEs that it needs."""
    named = search.named
    places = [place for place in MATCHES if search.look_in in ("everything", place) and (place != "ids" or named)]
    filters = "collection = $collection" + (" and sae = $sae" if search.sae else "")
    of_verdict = search.verdict != ANY
    template = FIND.format(
        judged=LATEST_EVALUATIONS.format(filters=filters),
        filters=filters,
        matches="\n    union all\n".join(MATCHES[place].format(filters=filters) for place in places)
        if search.text
        else ALL,
        at_leap=AT_LEAP.format(filters=filters) if of_verdict else "",
        kept="\n    semi join at_leap using (sae, feature_id)" * of_verdict
        + LISTED * (search.list is not None)
        + "\n    where f.selected" * search.selected,
    )
    of_id = named or FeatureName(-1)
    return filled(template, **vars(search), id=of_id.feature_id, layer_of_id=of_id.layer, sae_of_id=of_id.sae)
