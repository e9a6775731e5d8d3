-- what became of the features of an SAE of the latest study over its training: emergence, births, deaths, splitting, drift
with emerged as (
    select e.*, t.tokens as emerged_tokens
    from feature_emergence as e
    left join sae_snapshots as t
        on t.collection = e.collection and t.sae = e.sae and t.step = e.emerged_step
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
        count(*) as n_features,
        median(e.emerged_step) as median_emerged_step,
        median(e.emerged_tokens) as median_emerged_tokens,
        count(e.born_step) as n_born,
        count(*) - count(e.born_step) as n_never_born,
        count(e.died_step) as n_died,
        count(e.split_from) as n_split,
        count(distinct e.split_from) as n_split_sources,
        avg(e.first_cosine) as mean_first_cosine,
        avg(e.first_jaccard) as mean_first_jaccard,
        avg(e.drift) as mean_drift,
        median(e.drift) as median_drift,
        avg(e.token_entropy_first) as mean_token_entropy_first,
        avg(e.token_entropy) as mean_token_entropy,
        avg(e.token_entropy - e.token_entropy_first) as mean_entropy_change,
        count(e.token_entropy - e.token_entropy_first) as n_entropy_change,
        avg(e.stratum_entropy) as mean_stratum_entropy
    from latest_sae_study as s
    inner join emerged as e using (collection, sae)
    group by all
)

select * from final
order by collection, layer, architecture, d_sae, k, seed, sae
