-- the labellings of each SAE; is_latest marks the one of a judge that started last
with labellings as (
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
    left join run_times as t on t.collection = l.collection and t.key = l.labelling
)

select * from final
order by collection, layer, sae, judge, made_at, labelling
