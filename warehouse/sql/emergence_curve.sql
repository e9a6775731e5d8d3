-- an SAE of the latest study at each snapshot of its training: how much of it has emerged, and features emerging, born and dying
--
-- Counts are NULL where features were not followed.
with followed as (
    select collection, sae, count(*) as n_features
    from feature_emergence
    group by collection, sae
),

events as (
    select collection, sae, emerged_step as step, 'emerged' as event from feature_emergence
    union all
    select collection, sae, born_step, 'born' from feature_emergence where born_step is not null
    union all
    select collection, sae, died_step, 'died' from feature_emergence where died_step is not null
),

counted as (
    select
        collection, sae, step,
        count(*) filter (where event = 'emerged') as n_emerged,
        count(*) filter (where event = 'born') as n_born,
        count(*) filter (where event = 'died') as n_died
    from events
    group by all
),

final as (
    select
        s.collection,
        s.study,
        s.sae,
        s.label,
        s.layer,
        s.architecture,
        s.d_sae,
        s.k,
        s.seed,
        t.step,
        t.tokens,
        t.n_tokens,
        t.fvu,
        t.l0,
        t.dead_share,
        t.high_frequency_share,
        t.median_log10_rate,
        t.mean_final_cosine,
        t.mean_final_cosine_shuffled,
        t.emerged_share,
        t.mean_jaccard,
        t.mean_jaccard_by_chance,
        f.n_features,
        if(f.sae is null, null, coalesce(c.n_emerged, 0)) as n_emerged,
        if(f.sae is null, null, coalesce(c.n_born, 0)) as n_born,
        if(f.sae is null, null, coalesce(c.n_died, 0)) as n_died
    from latest_sae_study as s
    inner join sae_snapshots as t using (collection, sae)
    left join followed as f on f.collection = s.collection and f.sae = s.sae
    left join counted as c on c.collection = s.collection and c.sae = s.sae and c.step = t.step
)

select * from final
order by collection, layer, architecture, d_sae, k, seed, sae, step
