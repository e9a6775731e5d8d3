-- k-sparse probing of each SAE of the latest study: mean AUROC over the classes of a stratum, by what the probe reads
with final as (
    select
        s.collection,
        s.study,
        s.sae,
        s.label,
        s.layer,
        s.site,
        s.is_baseline,
        s.architecture,
        s.d_sae,
        s.k as sae_k,
        s.seed,
        p.stratum,
        p.reader,
        p.k,
        count(*) as n_classes,
        count(p.auroc) as n_scored,
        avg(p.auroc) as auroc,
        min(p.auroc) as auroc_worst,
        max(p.auroc) as auroc_best,
        sum(p.n_test)::bigint as n_test,
        any_value(p.reason) as reason
    from latest_sae_study as s
    inner join sae_probing as p using (collection, sae)
    group by all
)

select * from final
order by collection, layer, stratum, k, reader, is_baseline, architecture, sae_k, seed, sae
