-- the labellings of each SAE; is_latest marks the one of a judge that started last
with run_times as (
    select collection, key as labelling, max(started_at) as made_at
    from stage_runs
    where stage = 'label'
    group by collection, key
),

labellings as (
    select collection, labelling, evidence, sae, layer, judge from feature_descriptions
    union
    select collection, labelling, evidence, sae, layer, judge from description_scores
),

final as (
    select
        l.*,
        t.made_at,
        row_number() over (
            partition by l.collection, l.sae, l.judge
            order by t.made_at desc nulls last, l.labelling
        ) = 1 as is_latest
    from labellings as l
    left join run_times as t using (collection, labelling)
)

select * from final
order by collection, layer, sae, judge, made_at, labelling
