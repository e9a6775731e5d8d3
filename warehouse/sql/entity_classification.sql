-- telling the two classes apart by one number, beside what always saying the first class reaches on the same test entities
with latest as (
    select collection, result as latent_scoring, contrast, template, position, entity_set
    from latest_entity_results
    where kind = 'latents' and is_latest
),

final as (
    select
        c.collection,
        c.latent_scoring,
        l.entity_set,
        c.contrast,
        c.template,
        c.position,
        c.entity_type,
        c.score,
        c.layer,
        c.sae,
        c.feature_id,
        c.n_positive,
        c.n_negative,
        c.auroc,
        c.auroc_low,
        c.auroc_high,
        c.f1,
        -- Of precision n_positive / n and recall 1: what no number at all would reach.
        if(c.n_positive > 0, 2 * c.n_positive / (2 * c.n_positive + c.n_negative), null) as f1_constant,
        c.threshold,
        c.precision,
        c.recall,
        c.brier,
        -- Of always giving the share of the first class.
        if(c.n_positive + c.n_negative > 0, c.n_positive * c.n_negative / (c.n_positive + c.n_negative) ** 2, null)
            as brier_constant,
        c.calibration_error
    from entity_classifiers as c
    inner join latest as l using (collection, latent_scoring, contrast, template, position)
)

select * from final
order by collection, contrast, template, position, entity_type, auroc desc nulls last, score
