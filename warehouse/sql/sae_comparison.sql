-- one SAE or baseline of the latest study, with its metrics on the same held-out tokens and their intervals by document
with metrics as (
    pivot (
        select collection, sae, metric, value, low, high from sae_metrics
    ) on metric in (
        'fvu', 'explained_variance', 'l0', 'dead_share', 'high_frequency_share', 'shrinkage', 'decoder_redundancy',
        'ce_recovered', 'kl', 'absorption_fraction', 'matched_cosine', 'probe_auroc_1', 'probe_auroc_5',
        'attribution_rank_agreement'
    )
    using any_value(value) as value, any_value(low) as low, any_value(high) as high
    group by collection, sae
),

tokens as (
    select collection, sae, max(n) as n_tokens, max(n_documents) as n_documents
    from sae_metrics
    where metric = 'fvu'
    group by collection, sae
),

final as (
    select
        s.* exclude (path, weights_hash, n_saes, n_judged),
        t.n_tokens,
        t.n_documents,
        m.* exclude (collection, sae) rename (
            fvu_value as fvu,
            explained_variance_value as explained_variance,
            l0_value as l0,
            dead_share_value as dead_share,
            high_frequency_share_value as high_frequency_share,
            shrinkage_value as shrinkage,
            decoder_redundancy_value as decoder_redundancy,
            ce_recovered_value as ce_recovered,
            kl_value as kl,
            absorption_fraction_value as absorption_fraction,
            matched_cosine_value as matched_cosine,
            probe_auroc_1_value as probe_auroc_1,
            probe_auroc_5_value as probe_auroc_5,
            attribution_rank_agreement_value as attribution_rank_agreement
        )
    from latest_sae_study as s
    left join metrics as m on m.collection = s.collection and m.sae = s.sae
    left join tokens as t on t.collection = s.collection and t.sae = s.sae
)

select * from final
order by collection, layer, site, target_site nulls first, has_skip, is_baseline, architecture, d_sae, k, seed, label, sae
