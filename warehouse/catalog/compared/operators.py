"""Two operators side by side: residual scores, r2 of shared features, spectra, efficiency of their pairs, causal cost."""

from warehouse.catalog.compared.intervals import MIN_UNITS, t_quantile
from warehouse.catalog.compared.statements import (
    DIFFERENCES_NOTE,
    Part,
    at_least,
    both,
    differences,
    drawn,
    mean_of_pairs,
    measures,
)

POINTS = 1500
"""Features drawn at most: those with the smallest hash."""
LOWEST = -1.0
"""Efficiencies and r2 below it are drawn there."""
OWN = "collection = $collection and operator = $operator"
MEAN = "mean r2 of shared features"

_SCORES = measures(
    f"select * from operators where {OWN}",
    """
    r2 of the residual | share of variance, mean over dimensions | r2_test | r2_test_low | r2_test_high | n_test | test tokens
    weighted r2 | share of variance | r2_weighted | r2_weighted_low | r2_weighted_high | n_test | test tokens
    whitened r2 | share of variance, whitened | r2_whitened | r2_whitened_low | r2_whitened_high | n_test | test tokens
    r2 of the update | share of variance of y - x | r2_update | r2_update_low | r2_update_high | n_test | test tokens
    skill | 1 - error / error of the identity | skill | skill_low | skill_high | n_test | test tokens
    cosine | mean cosine of y and its prediction | cosine | | | n_test | test tokens
    leap | blocks | leap | | | |
    rank | directions | rank | | | |
    train tokens | tokens | n_train | | | |
    """,
)
_SHARED = """judged as (
    select evaluation, collection, sae, operator from latest_evaluations
    where kind = 'feature_transport' and is_latest
        and (collection = $left_collection and operator = $left_operator or collection = $right_collection and operator = $right_operator)
),

-- One SAE has another key in each collection that it was loaded in.
same_sae as (
    select l.sae as left_sae, r.sae as right_sae
    from (select sae, weights_hash from saes where collection = $left_collection) as l
    inner join (select sae, weights_hash from saes where collection = $right_collection) as r
        on l.sae = r.sae or ($left_collection <> $right_collection and l.weights_hash = r.weights_hash)
),

of_left as (
    select f.sae, f.feature_id, f.r2, f.r2_low, f.r2_high, f.n_active, f.verdict
    from feature_transport as f semi join judged using (evaluation, collection, sae, operator)
    where f.collection = $left_collection and f.operator = $left_operator and f.r2 is not null
),

of_right as (
    select f.sae, f.feature_id, f.r2, f.r2_low, f.r2_high, f.n_active, f.verdict
    from feature_transport as f semi join judged using (evaluation, collection, sae, operator)
    where f.collection = $right_collection and f.operator = $right_operator and f.r2 is not null
),

shared as (
    select l.sae, l.feature_id, l.r2 as left_r2, l.r2_low as left_r2_low, l.r2_high as left_r2_high, r.r2 as right_r2,
        r.r2_low as right_r2_low, r.r2_high as right_r2_high, l.n_active as left_n_active, r.n_active as right_n_active,
        l.verdict as left_verdict, r.verdict as right_verdict, r.r2 - l.r2 as difference
    from of_left as l
    inner join same_sae as s on s.left_sae = l.sae
    inner join of_right as r on r.sae = s.right_sae and r.feature_id = l.feature_id
)"""
_COST = "rise of the next-token loss, positions "
_LOSSES = f"""-- On the same sequences of one collection the unedited loss cancels.
by_document as (
    select positions, document, sum(r.log_ppl - l.log_ppl) as difference, count(*) as n
    from (from transported_losses where collection = $left_collection and operator = $left_operator) as l
    inner join (from transported_losses where collection = $right_collection and operator = $right_operator) as r
        using (collection, positions, document, sequence_id)
    group by positions, document
),

without_one as (
    select positions, n, sum(difference) over whole / sum(n) over whole as mean,
        (sum(difference) over whole - difference) / nullif(sum(n) over whole - n, 0) as left_out
    from by_document
    window whole as (partition by positions)
),

-- The jackknife over documents of ato.numerics.intervals, with the effective number of documents (Kish, 1965).
jackknife as (
    select positions, any_value(mean) as mean, count(*) as n_documents, sum(n) ** 2 / sum(n ** 2) - 1 as freedom,
        sqrt((count(*) - 1) * var_pop(left_out)) as error
    from without_one
    group by positions
),

costs as (
    select
        '{_COST}' || positions as quantity, mean as difference,
        if(n_documents >= {MIN_UNITS} and freedom >= 1, mean - {t_quantile("freedom")} * error, null) as difference_low,
        if(n_documents >= {MIN_UNITS} and freedom >= 1, mean + {t_quantile("freedom")} * error, null) as difference_high,
        n_documents as n_paired, 'document' as paired_by
    from jackknife
)"""
_EFFECTS = f"""select 60 as place, '{_COST}' || position_set as quantity, 'nats' as unit, delta_log_ppl as value,
    delta_log_ppl_low as low, delta_log_ppl_high as high, n_documents as n, 'documents' as n_of
from causal_summary
where collection = $collection and intervention = 'transport' and feature_id is null and source_layer = $source_layer
    and target_layer = $target_layer and method = $method
    and position_set in (select positions from transported_losses where collection = $collection and operator = $operator)"""

DIFFERENCES = Part(
    "Differences",
    differences(
        f"""{both(_SCORES)}
union all
select 'left', 50, '{MEAN}', 'share of variance on active tokens', avg(left_r2), null, null, count(*), 'features'
from shared having count(*) > 0
union all
select 'right', 50, '{MEAN}', 'share of variance on active tokens', avg(right_r2), null, null, count(*), 'features'
from shared having count(*) > 0
union all
{both(_EFFECTS)}""",
        """select * from by_documents
union all
select * from by_features anti join by_documents using (quantity)
union all
select * from costs""",
        ctes=f"""{_SHARED},

{_LOSSES},

by_features as (
{mean_of_pairs("shared", "feature", f"'{MEAN}'")}
),

-- The interval by document belongs to the same features only.
by_documents as (
    select '{MEAN}' as quantity, d.difference, d.difference_low, d.difference_high, d.n_documents as n_paired, 'document' as paired_by
    from operator_differences as d
    inner join by_features as f on abs(d.difference - f.difference) < 1e-6 and d.n_features = f.n_paired
    where d.left_collection = $left_collection and d.left_operator = $left_operator and d.right_collection = $right_collection
        and d.right_operator = $right_operator and d.features = 'all'
    limit 1
),

""",
    ),
    note=f"{DIFFERENCES_NOTE} Mean r2: by document where both operators were evaluated together or compared, else by feature "
    "(Student's t), which says how features differ and not how documents do. Cost: both on the same sequences, a document left out of both "
    "at once.",
)
FEATURES = Part(
    "r2 of shared features",
    f"""with {_SHARED}
select feature_id, left_r2, right_r2, {at_least("left_r2", LOWEST)} as left_drawn, {at_least("right_r2", LOWEST)} as right_drawn,
    difference, left_r2_low, left_r2_high, right_r2_low, right_r2_high, left_n_active, right_n_active, left_verdict, right_verdict, sae,
    count(*) over () as n_features, least(min(left_drawn) over (), min(right_drawn) over (), 0) as lowest,
    greatest(max(left_drawn) over (), max(right_drawn) over (), 0) as highest
from shared
order by md5(sae || '/' || feature_id)
limit {POINTS}""",
    note=f"Each feature of the SAE that both operators are evaluated on, at most {POINTS:,} of them; scores below {LOWEST:g} are drawn "
    "there. On the line nothing differs.",
    empty="No feature is scored under both: they need one target layer and one SAE, and `ato run evaluate`.",
)
SPECTRA = Part(
    "Spectra",
    f"""select * from (
{both(f"select mode, singular_value, n_modes from spectrum_curves where {OWN}")}
)
order by side, mode""",
    note="Singular values of both matrices, largest first, on logarithmic axes, thinned to about 200 each; those that are zero to rounding "
    "are left out.",
    empty="Neither has a spectrum: the identity and the mean have none.",
)
EFFICIENCY = Part(
    "Efficiency by rank",
    f"""select * from (
{
        both(
            f'''select rank, d_kept, n_train, n_test, efficiency, efficiency_low, efficiency_high, r2_rrr, ceiling_held_out,
    {drawn("efficiency", LOWEST)}
from efficiency_curves
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and position_policy = $position_policy
    and is_latest and efficiency is not null'''
        )
    }
)
order by side, rank""",
    note="Of the layer pairs of both, not of the two maps: whitened r2 on test tokens of the best map of each rank over the ceiling "
    "of that rank, with 95 % intervals by document; 1 is the most that a linear map can carry. Values below "
    f"{LOWEST:g} are drawn there.",
    empty="No rank curves for either pair: run `ato run evaluate`.",
)
PARTS = DIFFERENCES, FEATURES, SPECTRA, EFFICIENCY
