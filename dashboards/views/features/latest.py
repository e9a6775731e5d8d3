"""CTEs that panels of the page ``features`` share: the latest scores and the latest evaluations."""

LATEST_EVALUATIONS = """chosen as (
    select operator
    from operators
    where collection = $collection and method = 'ridge' and position_policy = 'same'
    qualify row_number() over (
        partition by source_layer, target_layer
        order by r2_val desc nulls last, operator
    ) = 1
),

judged as (
    select evaluation, sae, operator
    from latest_evaluations
    semi join chosen using (operator)
    where {filters} and kind = 'feature_transport' and is_latest
)"""
"""CTEs ``chosen`` and ``judged``: the evaluations that count, as in the mart feature_catalog, reading fewer columns."""

LATEST_SCORES = """latest as (
    select evaluation as scoring
    from latest_evaluations
    where collection = $collection and sae = $sae and kind = 'feature_scores' and is_latest
),

scores as (
    select *
    from feature_scores
    semi join latest using (scoring)
    where collection = $collection and sae = $sae
)"""
"""CTE ``scores``: the latest scores of one SAE's features."""
