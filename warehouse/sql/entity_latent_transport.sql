-- ranked entity features by operator into their layer: whether "known" is carried from below or computed in between
--
-- carried, from the 95 % intervals by entity, never from r2 itself:
--   computed  the interval of r2 lies at or below 0.3;
--   carried   it lies at or above 0.7, whatever the identity reaches, or it lies above 0.3 and above the identity's interval;
--   unclear   neither, or there is no interval.
-- 0.7 and 0.3 are the thresholds of the verdicts on ordinary text (ato/evaluation/verdicts.py).
with ranked as (
    select * from entity_latent_ranking
    qualify row_number() over (
        partition by collection, latent_scoring, contrast, template, position, sae, feature_id
        order by entity_type = 'all' desc, rank, entity_type
    ) = 1
),

carried as (
    select
        t.*,
        r.direction,
        r.entity_set,
        r.entity_type,
        r.rank,
        r.q
    from entity_transport as t
    inner join ranked as r using (collection, latent_scoring, contrast, template, position, sae, feature_id)
),

-- The same operators and features, judged on ordinary text.
ordinary as (
    select f.collection, f.sae, f.feature_id, f.operator, f.n_active, f.r2, f.r2_low, f.r2_high, f.verdict
    from feature_transport as f
    semi join carried as c
        on c.collection = f.collection and c.sae = f.sae and c.feature_id = f.feature_id and c.operator = f.operator
    semi join latest_evaluations as l
        on l.kind = 'feature_transport' and l.is_latest and l.collection = f.collection
        and l.evaluation = f.evaluation and l.sae = f.sae and l.operator = f.operator
),

final as (
    select
        c.collection,
        c.latent_scoring,
        c.entity_set,
        c.contrast,
        c.template,
        c.position,
        c.entity_type,
        c.direction,
        c.rank,
        c.q,
        c.sae,
        c.feature_id,
        c.source_layer,
        c.leap,
        c.target_layer,
        c.method,
        c.operator,
        c.n_entities,
        c.r2,
        c.r2_low,
        c.r2_high,
        c.r2_identity,
        c.r2_identity_low,
        c.r2_identity_high,
        case
            when c.r2_high <= 0.3 then 'computed'
            when c.r2_low >= 0.7 then 'carried'
            when c.r2_low > 0.3 and c.r2_low > c.r2_identity_high then 'carried'
            else 'unclear'
        end as carried,
        o.r2 as r2_text,
        o.r2_low as r2_text_low,
        o.r2_high as r2_text_high,
        o.n_active as n_active_text,
        o.verdict as verdict_text
    from carried as c
    left join ordinary as o
        on o.collection = c.collection and o.sae = c.sae and o.feature_id = c.feature_id and o.operator = c.operator
)

select * from final
order by collection, contrast, template, position, direction, rank, method, leap
