-- scores of descriptions over the features of an SAE: by judge, test, tier and control, with those that could not be scored; intervals of means by feature (modified Wilson)
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

summed as (
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
        var_samp(score) / count(score) as mean_variance,
        min(score) = max(score) as is_constant,
        median(score) as median_score,
        avg(sensitivity) as mean_sensitivity,
        avg(specificity) as mean_specificity,
        count(*) filter (score_low <= chance) as n_at_chance,
        sum(n_positive)::bigint as n_positive,
        sum(n_negative)::bigint as n_negative,
        sum(n_unanswered)::bigint as n_unanswered,
        mode(reason) as usual_reason
    from scores
    group by all
),

-- The spread between features: each is one draw, whatever the number of its trials. A normal interval would pass 0 or 1, so
-- it is Wilson's for a mean of m (1 - m) / variance draws of 0 or 1, with Student's t by the expansion of Cornish and Fisher:
-- the modified Wilson interval of surveys (Dean and Pagano 2015, J. Surv. Stat. Methodol. 3, 484). Scores that are all the same
-- show no spread, and count as one draw of 0 or 1 each; one score has no interval.
wilson as (
    select
        *,
        n_scored - 1 as df,
        1.95996 + 2.37227 / df + 2.8225 / df ** 2 + 2.55585 / df ** 3 + 1.58953 / df ** 4 as t,
        t ** 2 * if(is_constant, 1 / n_scored, mean_variance / (mean_score * (1 - mean_score))) as t2_by_n,
        (mean_score + t2_by_n / 2) / (1 + t2_by_n) as centre,
        sqrt(t2_by_n * mean_score * (1 - mean_score) + t2_by_n ** 2 / 4) / (1 + t2_by_n) as half_width
    from summed
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
        chance,
        n_features,
        n_scored,
        mean_score,
        if(n_scored > 1, greatest(centre - half_width, 0), null) as mean_low,
        if(n_scored > 1, least(centre + half_width, 1), null) as mean_high,
        median_score,
        mean_sensitivity,
        mean_specificity,
        n_at_chance,
        n_positive,
        n_negative,
        n_unanswered,
        usual_reason
    from wilson
)

select * from final
order by collection, layer, sae, judge, scorer, control, tier
