-- every metric of every SAE of the latest study; agreement between seeds is that with the other seeds of the same study
with agreements as (
    select collection, study, sae, other_sae, mean_cosine from sae_agreement
    union
    select collection, study, other_sae, sae, mean_cosine from sae_agreement
),

-- Of several rows of a pair, one in each direction, the mean: each pair counts once.
pairs as (
    select collection, study, sae, other_sae, avg(mean_cosine) as mean_cosine
    from agreements
    where sae <> other_sae
    group by all
),

seed_agreement as (
    select
        collection, study, sae, 'seed_agreement' as metric, avg(mean_cosine) as value, count(mean_cosine) as n
    from pairs
    group by collection, study, sae
),

final as (
    select s.collection, s.study, s.sae, q.metric, q.value, q.low, q.high, q.n, q.n_documents, q.reason
    from latest_sae_study as s
    inner join sae_quality as q using (collection, sae)
    where q.metric <> 'seed_agreement'
    union all
    select
        s.collection, s.study, s.sae, a.metric, a.value, null, null, a.n, 0,
        if(a.value is null, 'no features could be matched', null)
    from latest_sae_study as s
    inner join seed_agreement as a using (collection, study, sae)
)

select * from final
order by collection, study, sae, metric
