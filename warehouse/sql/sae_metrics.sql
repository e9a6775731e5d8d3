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

matched_cosine as (
    select
        collection, study, sae, 'matched_cosine' as metric, avg(mean_cosine) as value, count(mean_cosine) as n
    from pairs
    group by collection, study, sae
),

-- Probes by the number of features they read, averaged over the strata of the corpus; limits only where there is one stratum.
probes as (
    select
        collection, sae, 'probe_auroc_' || regexp_extract(detail, 'k = ([0-9]+)', 1) as metric, avg(value) as value,
        if(count(*) = 1, any_value(low), null) as low, if(count(*) = 1, any_value(high), null) as high, max(n) as n,
        max(n_documents) as n_documents, if(count(value) = 0, any_value(reason), null) as reason
    from sae_quality
    where metric = 'probe_auroc'
    group by all
),

-- Of a metric with several values the one that is meant: gradients, and not the baseline beside them.
single as (
    select collection, sae, metric, value, low, high, n, n_documents, reason
    from sae_quality
    where metric not in ('matched_cosine', 'probe_auroc') and detail <> 'activation mass'
    union all
    select * from probes
),

final as (
    select s.collection, s.study, s.sae, q.metric, q.value, q.low, q.high, q.n, q.n_documents, q.reason
    from latest_sae_study as s
    inner join single as q using (collection, sae)
    union all
    select
        s.collection, s.study, s.sae, a.metric, a.value, null, null, a.n, null,
        if(a.value is null, 'no features could be matched', null)
    from latest_sae_study as s
    inner join matched_cosine as a using (collection, study, sae)
)

select * from final
order by collection, study, sae, metric
