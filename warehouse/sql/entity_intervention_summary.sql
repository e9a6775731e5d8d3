-- what interventions along entity features change, beside random features; is_damage: fewer right answers and more refusals
with latest as (
    select e.*
    from entity_intervention_effects as e
    semi join latest_entity_results as r
        on r.kind = 'interventions' and r.is_latest and r.collection = e.collection and r.result = e.intervening
        and r.intervention = e.intervention and r.position = e.position
),

final as (
    select
        collection,
        intervening,
        label,
        intervention,
        direction,
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
        -- The interval leaves out 0, and at most one random draw in twenty changes as much.
        (change_low > 0 or change_high < 0) and p_control <= 0.05 as beyond_controls,
        coalesce(
            bool_or(outcome = 'abstain' and change_low > 0) over edit
            and bool_or(outcome = 'correct' and change_high < 0) over edit,
            false
        ) as is_damage
    from latest
    window edit as (partition by collection, intervening, label, intervention, direction, position)
)

select * from final
order by collection, label, intervention, direction, position, outcome
