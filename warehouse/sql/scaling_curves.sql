-- r2 against the share of the train tokens: gain of each share, and share of the full-data r2
with scores as (
    select s.*
    from scaling as s
    inner join latest_evaluations as l
        on l.kind = 'scaling' and l.collection = s.collection and l.evaluation = s.evaluation
        and l.source_layer = s.source_layer and l.target_layer = s.target_layer
        and l.position_policy = s.position_policy and l.method = s.method
    where l.is_latest
),

final as (
    select
        collection,
        evaluation,
        source_layer,
        leap,
        target_layer,
        position_policy,
        method,
        fraction_asked,
        fraction,
        fraction_documents,
        n_train,
        n_train_documents,
        alpha,
        r2_val,
        n_test,
        n_test_documents,
        r2,
        r2_low,
        r2_high,
        r2_weighted,
        r2_weighted_low,
        r2_weighted_high,
        r2 - lag(r2) over curve as r2_gain,
        r2 / nullif(last_value(r2) over whole, 0) as share_of_full_r2
    from scores
    window
        curve as (partition by collection, evaluation, source_layer, target_layer, method order by fraction_asked),
        whole as (
            partition by collection, evaluation, source_layer, target_layer, method order by fraction_asked
            rows between unbounded preceding and unbounded following
        )
)

select * from final
order by collection, source_layer, target_layer, position_policy, method, fraction_asked
