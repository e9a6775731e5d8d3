-- scores of descriptions over the features of an SAE: by judge, test, tier and control, with those that could not be scored
with latest as (
    select collection, labelling from latest_labellings
    where is_latest
),

sources as (
    select distinct collection, evidence, source from labelled_features
),

scores as (
    select s.*, f.source
    from description_scores as s
    semi join latest as l on l.collection = s.collection and l.labelling = s.labelling
    left join sources as f on f.collection = s.collection and f.evidence = s.evidence
),

final as (
    select
        collection,
        labelling,
        sae,
        layer,
        source,
        judge,
        scorer,
        tier,
        control,
        measure,
        any_value(chance) as chance,
        count(*) as n_features,
        count(score) as n_scored,
        avg(score) as mean_score,
        -- the spread between features: each is one draw, whatever the number of its trials
        avg(score) - 1.96 * stddev_samp(score) / sqrt(count(score)) as mean_low,
        avg(score) + 1.96 * stddev_samp(score) / sqrt(count(score)) as mean_high,
        median(score) as median_score,
        avg(sensitivity) as mean_sensitivity,
        avg(specificity) as mean_specificity,
        count(*) filter (score_low <= chance) as n_at_chance,
        sum(n_positive) as n_positive,
        sum(n_negative) as n_negative,
        sum(n_unanswered) as n_unanswered,
        mode(reason) as usual_reason
    from scores
    group by all
)

select * from final
order by collection, layer, sae, judge, scorer, control, tier
