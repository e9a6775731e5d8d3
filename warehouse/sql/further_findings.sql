-- what a study found beside transport: SAEs, entities, descriptions, graphs, fates and other models; no rows of what was not studied
--
-- Columns as in findings.
with sae_quality_of as (
    select
        collection, 'sae_quality' as finding, layer as target_layer, architecture as subject,
        unnest([
            {'measure': 'fvu', 'value': fvu, 'low': fvu_low, 'high': fvu_high},
            {'measure': 'ce_recovered', 'value': ce_recovered, 'low': ce_recovered_low, 'high': ce_recovered_high}
        ], recursive := true),
        n_tokens as n, 'tokens' as unit, true as is_headline
    from saes
),

saes_trusted as (
    select
        collection, 'sae_quality' as finding, 'n_trusted' as measure, count(*) filter (where trusted)::double as value,
        count(*) as n, 'SAEs' as unit, true as is_headline
    from saes
    group by collection
),

-- Of each width and k at each layer the architecture that comes first, and how far the next is.
architectures as (
    select
        collection, 'sae_architectures' as finding, layer as target_layer,
        architecture || ' before ' || next_architecture || ', k = ' || k || ', ' || d_sae || ' features' as subject,
        'fvu_difference' as measure, difference as value, difference - spread as low, difference + spread as high,
        n_seeds as n, 'seeds' as unit,
        row_number() over (
            partition by collection
            order by coalesce(exceeds_spread, false) desc, coalesce(at_equal_l0, false) desc, abs(difference) desc, layer, k, d_sae
        ) = 1 as is_headline,
        case
            when spread is null then 'one seed: nothing tells chance from a difference'
            when not exceeds_spread then 'within the spread of seeds'
            when not at_equal_l0 then 'not at equal L0'
            else 'more than the spread of seeds'
        end as note
    from sae_frontier
    where metric = 'fvu' and place = 1 and next_mean is not null and site = 'resid_post' and target_site is null
),

innovations as (
    select
        collection, 'innovation_saes' as finding, source_layer, layer as target_layer,
        architecture || ', k = ' || k || ', seed ' || seed as subject, 'fvu_difference' as measure,
        difference as value, difference_low as low, difference_high as high, n, 'documents' as unit,
        row_number() over (
            partition by collection
            order by at_equal_parameters desc, at_equal_l0 desc, layer desc, architecture, k, seed, plain_d_sae
        ) = 1 as is_headline,
        case
            when at_equal_l0 and at_equal_parameters then 'at equal L0 and parameters'
            when at_equal_l0 then 'at equal L0'
            when at_equal_parameters then 'at equal parameters'
            else 'neither at equal L0 nor at equal parameters'
        end as note
    from innovation_overview
    where metric = 'fvu' and scope = 'alone' and difference is not null
    qualify row_number() over (
        partition by collection, layer, architecture, k, seed
        order by at_equal_parameters desc, at_equal_l0 desc, plain_d_sae, sae
    ) = 1
),

-- Where features separate the classes best on train: a choice that test scores took no part in.
entity_places as (
    select collection, template, position
    from (
        select collection, template, position, max(abs(separation)) as separation
        from entity_latent_ranking
        where contrast = 'known_unknown' and entity_type = 'all' and rank = 1
        group by all
    )
    qualify row_number() over (partition by collection order by separation desc nulls last, template, position) = 1
),

entity_latents_best as (
    select r.*
    from entity_latent_ranking as r
    semi join entity_places as p
        on p.collection = r.collection and p.template = r.template and p.position = r.position
    where r.contrast = 'known_unknown' and r.entity_type = 'all' and r.rank = 1 and r.auroc is not null
),

entities_told as (
    select
        collection, 'entity_knowledge' as finding, layer as target_layer,
        direction || ' entities: feature ' || feature_id as subject,
        unnest([
            {
                'measure': 'auroc', 'value': auroc, 'low': auroc_low, 'high': auroc_high,
                'note': if(beats_baselines, 'better than every baseline', 'not better than the best baseline')
            },
            {
                'measure': 'baseline_auroc', 'value': best_baseline_auroc, 'low': best_baseline_auroc_low,
                'high': best_baseline_auroc_high, 'note': best_baseline
            }
        ], recursive := true),
        n_positive + n_negative as n, 'entities' as unit,
        dense_rank() over (partition by collection order by abs(separation) desc nulls last, direction) = 1 as is_headline
    from entity_latents_best
),

descriptions as (
    select
        collection, 'descriptions' as finding, layer as target_layer, judge as subject,
        if(control = 'none', 'detection', 'detection_shuffled') as measure,
        mean_score as value, mean_low as low, mean_high as high, n_scored as n, 'features' as unit,
        dense_rank() over (partition by collection order by n_scored_own desc, layer, judge) = 1 as is_headline
    from (
        select *, max(n_scored) filter (where control = 'none') over (partition by collection, sae, judge) as n_scored_own
        from label_scores
        where scorer = 'detection' and tier = 'all' and source = 'sae'
    )
    where mean_score is not null
    qualify row_number() over (partition by collection, layer, judge, control order by n_scored_own desc, sae) = 1
),

graph_checks as (
    select
        collection, 'graph_edges' as finding, prompt as subject,
        unnest([
            {'measure': 'pearson', 'value': pearson, 'low': pearson_low, 'high': pearson_high},
            {'measure': 'pearson_control', 'value': pearson_control, 'low': null, 'high': null}
        ], recursive := true),
        n_ablated as n, 'edges' as unit,
        pearson = max(pearson) over own or pearson = min(pearson) over own as is_headline
    from graph_summary
    where graph_kind = 'attribution' and pearson is not null
    window own as (partition by collection)
),

graph_shares as (
    select
        collection, 'graph_transport' as finding, prompt as subject, 'transport_share' as measure,
        transport_share as value, n_edges as n, 'edges' as unit,
        transport_share = max(transport_share) over own or transport_share = min(transport_share) over own as is_headline
    from graph_summary
    where graph_kind = 'attribution' and transport_share is not null
    window own as (partition by collection)
),

-- Pairs whose SAEs the fate stage linked.
linked as (
    select distinct collection, sae, other_layer as source_layer from feature_links
    where other_layer < layer
),

fates as (
    select
        f.collection, 'feature_fates' as finding, f.source_layer, f.target_layer,
        unnest([
            {'measure': 'share_' || fate, 'value': count(*) / sum(count(*)) over pair}
        ], recursive := true),
        sum(count(*)) over pair::bigint as n, 'features' as unit,
        dense_rank() over (partition by f.collection order by f.target_layer desc, f.source_layer) = 1 as is_headline
    from feature_fate as f
    semi join linked as l on l.collection = f.collection and l.sae = f.sae and l.source_layer = f.source_layer
    where f.r2 is not null
    group by f.collection, f.source_layer, f.target_layer, f.fate
    window pair as (partition by f.collection, f.source_layer, f.target_layer)
),

fates_ablated as (
    select
        collection, 'feature_fates' as finding, 'kappa_ablation' as measure, kappa as value, kappa_low as low,
        kappa_high as high, n_features as n, 'features' as unit, true as is_headline
    from fate_agreement
    where target_layer is null and "view" = 'ridge' and against = 'causal' and kappa is not null
),

compared as (
    select
        collection, 'other_models' as finding, source_layer, target_layer, other_model as subject,
        unnest([
            {
                'measure': 'mean_difference', 'value': mean_difference, 'low': mean_difference_low,
                'high': mean_difference_high
            },
            {'measure': 'n_changed', 'value': n_changed::double, 'low': null, 'high': null}
        ], recursive := true),
        n_features as n, 'features' as unit,
        dense_rank() over (partition by collection order by place desc, target_layer desc, source_layer) = 1 as is_headline
    from latest_comparisons
    where mean_difference is not null
    qualify row_number() over (
        partition by collection, other_model, source_layer, target_layer order by n_features desc, sae
    ) = 1
),

final as (
    from sae_quality_of
    union all by name
    from saes_trusted
    union all by name
    from architectures
    union all by name
    from innovations
    union all by name
    from entities_told
    union all by name
    from descriptions
    union all by name
    from graph_checks
    union all by name
    from graph_shares
    union all by name
    from fates
    union all by name
    from fates_ablated
    union all by name
    from compared
)

select * from final
where value is not null
order by collection, finding, measure, target_layer, source_layer, subject
