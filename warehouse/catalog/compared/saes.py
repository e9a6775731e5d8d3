"""Two SAEs side by side: quality, how often their features fire, and which features of the one are those of the other."""

from warehouse.catalog.compared.statements import DIFFERENCES_NOTE, Part, both, differences, measures

SHOWN = 300
"""Matched features in the table."""
OWN = "collection = $collection and sae = $sae"

_QUALITY = measures(
    f"select * from saes where {OWN}",
    """
    features | features | d_sae | | | |
    layer | layer | layer | | | |
    L0 | active features per token | l0 | | | n_documents | documents
    FVU | fraction of variance unexplained | fvu | fvu_low | fvu_high | n_documents | documents
    loss recovered | share of the rise by zero ablation | ce_recovered | ce_recovered_low | ce_recovered_high | n_documents | documents
    dead features | share of features | dead_share | | | d_sae | features
    """,
)
_STUDIED = f"""select 20 as place, metric || ', study' as quantity, '' as unit, value, low, high, coalesce(n_documents, n) as n,
    if(n_documents is null, '', 'documents') as n_of
from sae_metrics
where {OWN}"""
_PAIRED = """select metric || ', study' as quantity, difference, difference_low, difference_high, n as n_paired, 'document' as paired_by
from (
    select collection, sae, other_sae, metric, difference, difference_low, difference_high, n from innovation_overview
    where scope = 'alone'
)
where $left_collection = $right_collection and collection = $left_collection and other_sae = $left_sae and sae = $right_sae
union all
select metric || ', study', -difference, -difference_high, -difference_low, n, 'document'
from innovation_overview
where scope = 'alone' and $left_collection = $right_collection and collection = $left_collection and other_sae = $right_sae
    and sae = $left_sae"""

DIFFERENCES = Part(
    "Differences",
    differences(f"{both(_QUALITY)}\nunion all\n{both(_STUDIED)}", _PAIRED),
    note=f"{DIFFERENCES_NOTE} What each document adds to an SAE's quality is not stored; studies store the paired difference of an "
    "innovation SAE and its plain one. Metrics of a study: `python -m ato.sae_studies.metrics_page`.",
)
DENSITY = Part(
    "Activation rates",
    f"""select * from (
{
        both(
            f'''with own as (select activation_rate, n_tokens from feature_stats where {OWN}),
counted as (
    select floor(10 * log10(activation_rate)) / 10 as low, floor(10 * log10(activation_rate)) / 10 + 0.1 as high, count(*) as n_features,
        (select count(*) from own) as n_all, max(n_tokens) as n_tokens
    from own where activation_rate > 0 group by all
),
studied as (
    select log10_rate_low, log10_rate_high, n_features, sum(n_features) over () as n_all, null::bigint
    from sae_density where {OWN} and log10_rate_low is not null and not exists (from own)
)
select 10 ** low as rate_from, 10 ** high as rate_to, n_features, n_all, n_features / n_all as share, n_tokens
from (from counted union all from studied)'''
        )
    }
)
order by side, rate_from""",
    note="Share of the features of each by activation rate, bars 0.1 decades wide; features that never fire are in no bar.",
    empty="Activations have not been counted yet: run `ato run features`.",
)
_MATCHED = """matched as (
    select feature_id as left_feature, nearest_feature as right_feature, decoder_cosine, decoder_cosine_chance as by_chance
    from feature_links
    where $left_collection = $right_collection and collection = $left_collection and sae = $left_sae and other_sae = $right_sae
    union all
    select nearest_feature, feature_id, decoder_cosine, decoder_cosine_chance
    from feature_links
    where $left_collection = $right_collection and collection = $left_collection and sae = $right_sae and other_sae = $left_sae
    union all
    select feature_id, source_feature, decoder_cosine, null
    from feature_families
    where $left_collection = $right_collection and collection = $left_collection and sae = $left_sae and source_sae = $right_sae
    union all
    select source_feature, feature_id, decoder_cosine, null
    from feature_families
    where $left_collection = $right_collection and collection = $left_collection and sae = $right_sae and source_sae = $left_sae
),

pairs as (
    select left_feature, right_feature, max(decoder_cosine) as decoder_cosine, max(by_chance) as by_chance
    from matched where decoder_cosine is not null and left_feature is not null and right_feature is not null
    group by all
)"""
MATCHES = Part(
    "Matched features",
    f"""with {_MATCHED},
lens as (
    select collection, sae, feature_id, top_tokens[:3] as promotes from latest_feature_scores
    where collection = $left_collection and sae in ($left_sae, $right_sae)
)
select p.left_feature, p.right_feature, p.decoder_cosine, p.by_chance, l.promotes as left_promotes, r.promotes as right_promotes,
    count(*) over () as n_pairs
from pairs as p
left join lens as l on l.sae = $left_sae and l.feature_id = p.left_feature
left join lens as r on r.sae = $right_sae and r.feature_id = p.right_feature
order by p.decoder_cosine desc, p.left_feature, p.right_feature
limit {SHOWN}""",
    note=f"Features of one with the nearest decoder row of the other, at most {SHOWN}, the most alike first; by chance: what 5 % of "
    "features exceed after a random rotation.",
    empty="No table has matched these two: `ato run fate` does so between layers, SAE studies between seeds and in families.",
)
AGREEMENT = Part(
    "Agreement",
    f"""with {_MATCHED}
select 'nearest decoder rows' as match, count(*) as n_pairs, avg(decoder_cosine) as mean_cosine,
    count(*) filter (where decoder_cosine >= 0.9) / count(*) as share_same, max(by_chance) as by_chance
from pairs having count(*) > 0
union all
select 'matched one to one, seeds of a study', n_matched, mean_cosine, share_same, null_mean_cosine
from sae_agreement
where $left_collection = $right_collection and collection = $left_collection
    and (sae = $left_sae and other_sae = $right_sae or sae = $right_sae and other_sae = $left_sae)
order by match""",
    note="Mean decoder cosine of the matched pairs, and the share with at least 0.9; by chance: the same beside random directions.",
    empty="No table has matched these two: `ato run fate` does so between layers, SAE studies between seeds and in families.",
)
PARTS = DIFFERENCES, DENSITY, AGREEMENT, MATCHES
