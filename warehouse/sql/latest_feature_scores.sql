-- one feature of one SAE as the SAE's latest scoring left it; scorings before that are kept in feature_scores alone
with latest_scorings as (
    select collection, evaluation as scoring, sae from latest_evaluations
    where kind = 'feature_scores' and is_latest
),

-- Semi joins give no more rows than they take: DuckDB then knows that these are few, and hashes them and not the others.
final as (
    select * from feature_scores
    semi join latest_scorings using (collection, scoring, sae)
)

-- No order: other marts stand on this one and would sort for nothing.
select * from final
