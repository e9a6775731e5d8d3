-- ranked features of the latest scoring: chosen on train, with their test scores beside the best baseline on the same entities
with latest as (
    select collection, result as latent_scoring, contrast, template, position, entity_set
    from latest_entity_results
    where kind = 'latents' and is_latest
),

ranked as (
    select l.*, latest.entity_set
    from entity_latents as l
    inner join latest using (collection, latent_scoring, contrast, template, position)
    where l.rank is not null
),

baselines as (
    select * from entity_baselines
    semi join latest using (collection, latent_scoring, contrast, template, position)
),

-- The largest on test: a choice in favour of the baseline.
best_baselines as (
    select *
    from baselines
    where auroc is not null
    qualify row_number() over (
        partition by collection, latent_scoring, contrast, template, position, entity_type
        order by auroc desc, baseline, layer
    ) = 1
),

cautions as (
    select
        collection, latent_scoring, contrast, template, position, entity_type,
        bool_or(matched) as matched,
        coalesce(list(distinct baseline order by baseline) filter (where confounded), []) as confounded_by
    from baselines
    group by all
),

final as (
    select
        r.collection,
        r.latent_scoring,
        r.entity_set,
        r.contrast,
        r.template,
        r.position,
        r.entity_type,
        r.direction,
        r.rank,
        r.layer,
        r.sae,
        r.feature_id,
        r.separation,
        r.relative,
        r.mean_difference,
        r.welch_t,
        r.q,
        r.p_max,
        r.general_rate,
        r.n_positive_train,
        r.n_negative_train,
        r.n_positive,
        r.n_negative,
        r.f_positive,
        r.f_negative,
        r.test_separation,
        r.test_separation_low,
        r.test_separation_high,
        r.auroc,
        r.auroc_low,
        r.auroc_high,
        r.auroc_cross_type,
        r.auroc_cross_type_low,
        r.auroc_cross_type_high,
        b.baseline as best_baseline,
        b.layer as best_baseline_layer,
        b.auroc as best_baseline_auroc,
        b.auroc_low as best_baseline_auroc_low,
        b.auroc_high as best_baseline_auroc_high,
        r.beats_baselines,
        c.matched,
        c.confounded_by,
        s.top_tokens
    from ranked as r
    left join best_baselines as b
        using (collection, latent_scoring, contrast, template, position, entity_type)
    left join cautions as c
        using (collection, latent_scoring, contrast, template, position, entity_type)
    left join latest_feature_scores as s
        on s.collection = r.collection and s.sae = r.sae and s.feature_id = r.feature_id
)

select * from final
order by collection, contrast, template, position, entity_type, direction, rank
