-- one labelled feature by one judge: its description, how well that tells when the feature fires, its classes
--
-- failed: the description is no better than chance at detection, or there is none; NULL where too little was asked to know.
with latest as (
    select collection, labelling, evidence, sae, layer, judge from latest_labellings
    where is_latest
),

described as (
    select collection, labelling, feature_id, candidate, description, validation_score, reason
    from feature_descriptions
    qualify row_number() over (partition by collection, labelling, feature_id order by chosen desc, candidate) = 1
),

scored as (
    select
        collection,
        labelling,
        feature_id,
        any_value(score) filter (scorer = 'detection' and tier = 'all' and control = 'none') as detection,
        any_value(score_low) filter (scorer = 'detection' and tier = 'all' and control = 'none') as detection_low,
        any_value(score_high) filter (scorer = 'detection' and tier = 'all' and control = 'none') as detection_high,
        any_value(score) filter (scorer = 'detection' and tier = 'near_miss' and control = 'none') as detection_near_miss,
        any_value(score) filter (scorer = 'detection' and tier = 'all' and control = 'shuffled') as detection_shuffled,
        any_value(score) filter (scorer = 'fuzzing' and control = 'none') as fuzzing,
        any_value(score_low) filter (scorer = 'fuzzing' and control = 'none') as fuzzing_low,
        any_value(score_high) filter (scorer = 'fuzzing' and control = 'none') as fuzzing_high,
        any_value(score) filter (scorer = 'intruder') as intruder,
        any_value(score_low) filter (scorer = 'intruder') as intruder_low,
        any_value(score_high) filter (scorer = 'intruder') as intruder_high,
        any_value(chance) filter (scorer = 'intruder') as intruder_chance,
        any_value(score) filter (scorer = 'embedding' and tier = 'all' and control = 'none') as embedding,
        any_value(reason) filter (scorer = 'detection' and tier = 'all' and control = 'none') as detection_reason
    from description_scores
    group by collection, labelling, feature_id
),

classified as (
    select
        collection,
        labelling,
        feature_id,
        map_from_entries(list({'k': property, 'v': value} order by property)) as classes
    from feature_labels
    where value is not null
    group by collection, labelling, feature_id
),

final as (
    select
        l.collection,
        l.labelling,
        l.evidence,
        l.sae,
        l.layer,
        f.source,
        f.feature_id,
        f.place,
        f.ordered_by,
        f.value,
        f.n_active,
        f.n_active / nullif(f.n_tokens, 0) as activation_rate,
        f.max_activation,
        f.promoted,
        l.judge,
        d.description,
        d.validation_score,
        s.* exclude (collection, labelling, feature_id),
        case
            when d.description is null and d.reason is not null then true
            else s.detection_low <= 0.5
        end as failed,
        coalesce(d.reason, s.detection_reason) as reason,
        c.classes
    from latest as l
    inner join labelled_features as f using (collection, evidence)
    left join described as d
        on d.collection = l.collection and d.labelling = l.labelling and d.feature_id = f.feature_id
    left join scored as s
        on s.collection = l.collection and s.labelling = l.labelling and s.feature_id = f.feature_id
    left join classified as c
        on c.collection = l.collection and c.labelling = l.labelling and c.feature_id = f.feature_id
)

select * from final
order by collection, layer, sae, judge, place
