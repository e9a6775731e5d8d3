-- a cluster of decoder rows of an SAE of the latest study: its size, whether it is stable, and the tokens that its features share
with members as (
    select c.*, m.activation_rate, m.max_activation, m.tokens
    from feature_clusters as c
    semi join latest_sae_study using (collection, sae)
    left join feature_map as m using (collection, sae, feature_id)
),

-- A token counts once a feature.
token_counts as (
    select collection, sae, cluster, token, count(distinct feature_id) as n
    from (select collection, sae, cluster, feature_id, unnest(tokens) as token from members)
    group by all
),

shared as (
    select collection, sae, cluster, list(token order by n desc, token)[:6] as tokens
    from token_counts
    group by collection, sae, cluster
),

clusters as (
    select
        collection, sae, cluster, method, versions,
        count(*) as n_features,
        max(stability) as stability,
        max(cluster_stability) as cluster_stability,
        bool_and(stable) as stable,
        avg(activation_rate) as mean_activation_rate,
        list(feature_id order by max_activation desc nulls last, feature_id)[:5] as features
    from members
    group by collection, sae, cluster, method, versions
),

final as (
    select
        s.collection,
        s.study,
        s.sae,
        s.label,
        s.layer,
        c.method,
        c.cluster,
        c.n_features,
        c.stability,
        c.cluster_stability,
        c.stable,
        c.mean_activation_rate,
        t.tokens,
        c.features,
        c.versions
    from latest_sae_study as s
    inner join clusters as c using (collection, sae)
    left join shared as t
        on t.collection = c.collection and t.sae = c.sae and t.cluster is not distinct from c.cluster
)

select * from final
order by collection, layer, label, sae, cluster nulls last
