-- explanations of one SAE: number of features explained, and number aligned
with features as (
    select * from feature_catalog
),

final as (
    select
        collection,
        sae,
        layer,
        count(*) as n_features,
        count(*) filter (where selected) as n_selected,
        count(*) filter (where n_explanations > 0) as n_explained,
        count(*) filter (where selected and n_explanations > 0) as n_selected_explained,
        sum(n_explanations)::bigint as n_explanations,
        count(aligned) as n_checked,
        count(*) filter (where aligned) as n_aligned,
        avg(alignment) as mean_alignment
    from features
    group by all
)

select * from final
where n_explanations > 0
order by collection, layer, sae
