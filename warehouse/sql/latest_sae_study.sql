-- the SAEs of the latest complete study of a collection; where none is complete, of the latest one, with is_complete false
--
-- A study is complete if each of its SAEs has been judged. It was made when the stage run with its key began.
with judged as (
    select distinct collection, sae from sae_quality
),

studies as (
    select
        s.collection,
        s.study,
        max(t.made_at) as made_at,
        count(*) as n_saes,
        count(j.sae) as n_judged
    from sae_studies as s
    left join judged as j using (collection, sae)
    left join run_times as t on t.collection = s.collection and t.key = s.study
    group by s.collection, s.study
),

latest as (
    select *, n_judged = n_saes as is_complete
    from studies
    qualify row_number() over (
        partition by collection
        order by n_judged = n_saes desc, made_at desc nulls last, study
    ) = 1
),

final as (
    select
        l.collection,
        l.study,
        l.made_at,
        l.is_complete,
        l.n_saes,
        l.n_judged,
        s.sae,
        s.looked_at,
        b.label,
        b.source,
        b.source = 'baseline' as is_baseline,
        b.layer,
        b.site,
        b.target_site,
        b.has_skip,
        b.architecture || if(b.has_skip, ' skip', '') || if(b.target_site is null, '', ' transcoder')
            || if(i.operator is null, '', ' innovation') as kind,
        b.architecture,
        b.d_sae,
        b.k,
        b.seed,
        b.n_tokens_trained,
        b.path,
        b.weights_hash
    from latest as l
    inner join sae_studies as s using (collection, study)
    inner join studied_saes as b using (collection, sae)
    left join innovation_saes as i using (collection, sae)
)

select * from final
order by collection, layer, site, target_site nulls first, has_skip, is_baseline, architecture, d_sae, k, seed, label, sae
