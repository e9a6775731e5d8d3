-- what interventions along entity features change, beside random features; is_damage: fewer right answers and more refusals
with latest as (
    select e.*, r.latent_scoring, r.entity_set, r.of_latest_set
    from entity_intervention_effects as e
    inner join latest_entity_results as r
        on r.kind = 'interventions' and r.is_latest and r.collection = e.collection and r.result = e.intervening
        and r.intervention = e.intervention and r.position = e.position
),

-- The layer of changed weights is that of the latent's SAE.
latents as (
    select
        i.collection, i.intervening, i.intervention, i.direction, i.position, i.sae, i.feature_id,
        coalesce(i.layer, s.layer) as layer
    from (
        select distinct collection, intervening, intervention, direction, position, sae, feature_id, layer
        from entity_interventions
        where intervention != 'none' and draw = 0
    ) as i
    left join saes as s on s.collection = i.collection and s.sae = i.sae
),

final as (
    select
        collection,
        intervening,
        latent_scoring,
        entity_set,
        of_latest_set,
        label,
        intervention,
        direction,
        layer,
        sae,
        feature_id,
        position,
        strength,
        outcome,
        n_entities,
        unedited,
        change,
        change_low,
        change_high,
        n_draws,
        control_mean,
        control_sd,
        control_mean - 2 * control_sd as control_low,
        control_mean + 2 * control_sd as control_high,
        p_control,
        -- The interval leaves out 0, and at most one random draw in twenty changes as much; fewer than 19 cannot tell.
        if(n_draws < 19, null, (change_low > 0 or change_high < 0) and p_control <= 0.05) as beyond_controls,
        coalesce(
            bool_or(outcome = 'abstain' and change_low > 0) over edit
            and bool_or(outcome = 'correct' and change_high < 0) over edit,
            false
        ) as is_damage
    from latest
    left join latents using (collection, intervening, intervention, direction, position)
    window edit as (partition by collection, intervening, label, intervention, direction, position)
)

select * from final
order by collection, label, intervention, direction, position, outcome
