"""What is known of an SAE's features at a glance: how often each fires, how strongly, and what it is called."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import polars as pl

from dashboards.ui.reading import ask, filled

NAMES = """with described as (
    select feature_id, description
    from feature_labelled
    where collection = $collection and sae = $sae and description is not null
    qualify row_number() over (partition by feature_id order by detection desc nulls last, judge) = 1
),

explained as (
    select feature_id, description
    from explanations
    where collection = $collection and sae = $sae
    qualify row_number() over (
        partition by feature_id
        order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
),

scored as (
    select feature_id, 'promotes ' || array_to_string(list_transform(top_tokens[:4], lambda token: trim(token)), ', ') as promoted
    from latest_feature_scores
    where collection = $collection and sae = $sae and len(top_tokens) > 0
)

select t.feature_id, t.activation_rate, t.max_activation, coalesce(d.description, e.description, s.promoted) as name
from feature_stats as t
left join scored as s using (feature_id)
left join described as d using (feature_id)
left join explained as e using (feature_id)
where t.collection = $collection and t.sae = $sae
order by t.feature_id"""


class FeatureName(NamedTuple):
    """One feature; all None where nothing was measured."""

    rate: float | None = None
    """Share of tokens on which it fires."""
    largest: float | None = None
    """Its largest activation that was measured."""
    name: str | None = None
    """Its description, else an explanation, else the tokens that it promotes."""


def names_of(collection: str, sae: str, features: Collection[int]) -> dict[int, FeatureName]:
    """What is known of some features of an SAE; those of which nothing is are left out."""
    known = ask(filled(NAMES, collection=collection, sae=sae))
    own = known.filter(pl.col("feature_id").is_in(list(features)))
    return {number: FeatureName(rate, largest, name) for number, rate, largest, name in own.iter_rows()}


def rarer(features: Collection[int], names: Mapping[int, FeatureName], share: float) -> set[int]:
    """Features that fire on at most a share of tokens; one whose rate is unknown is kept."""
    return {one for one in features if (names.get(one, FeatureName()).rate or 0.0) <= share}
