-- share of an SAE's causal effect, attribution or influence that its first labelled features have, beside a random order of its features
--
-- n_features: those whose effect was measured, of the n_active_features; nothing is known of the others. random: the expected share of
-- as many of them in random order, place / n_features; random_low, random_high: 95 % of such orders (normal approximation).
with same_weights as (
    select collection, sae as studied, sae from studied_saes
    union
    select t.collection, t.sae, s.sae
    from studied_saes as t
    inner join saes as s using (collection, weights_hash, layer)
),

sizes as (
    select collection, sae, 'causal_effect' as ordered_by, feature_id, abs(causal_effect) as size
    from latest_feature_scores
    union all
    select w.collection, w.sae, 'attribution', a.feature_id, abs(a.gradient_x_activation)
    from feature_attribution as a
    inner join same_weights as w on w.collection = a.collection and w.studied = a.sae
    qualify row_number() over (partition by w.collection, w.sae, a.feature_id order by a.sae) = 1
    union all
    select collection, sae, 'influence', feature_id, influence from feature_influence
),

counted as (
    select collection, sae, feature_id, n_active from feature_stats
    union
    select collection, sae, feature_id, n_active from studied_features
),

active as (
    select collection, sae, count(distinct feature_id) as n_active_features from counted
    where n_active > 0
    group by collection, sae
),

measured as (
    select collection, sae, ordered_by, count(*) as n_features, sum(size) as total, coalesce(stddev_samp(size), 0) as deviation
    from sizes
    where size is not null
    group by collection, sae, ordered_by
),

shares as (
    select
        f.collection,
        f.evidence,
        f.sae,
        f.layer,
        f.ordered_by,
        f.place,
        f.feature_id,
        f.covered,
        m.n_features,
        a.n_active_features,
        least(1, f.place / m.n_features) as random,
        m.n_features * m.deviation / nullif(m.total, 0) as variation
    from labelled_features as f
    left join measured as m using (collection, sae, ordered_by)
    left join active as a using (collection, sae)
    where f.covered is not null
),

final as (
    select
        * exclude (variation),
        greatest(0, random - 1.96 * variation * sqrt(random * (1 - random) / n_features)) as random_low,
        least(1, random + 1.96 * variation * sqrt(random * (1 - random) / n_features)) as random_high
    from shares
)

select * from final
order by collection, layer, sae, evidence, place
