-- loss of one sequence with transported residuals in place of the model's own, of the latest evaluation of the layer pair
with final as (
    select p.collection, p.operator, p.source_layer, p.target_layer, p.method, p.positions, p.document, p.sequence_id, p.log_ppl
    from causal_perplexity as p
    semi join latest_evaluations as l
        on l.kind = 'causal_effects' and l.is_latest and l.collection = p.collection and l.evaluation = p.evaluation
        and l.source_layer = p.source_layer and l.target_layer = p.target_layer and l.method = p.method
        and l.part = p.positions
    where p.intervention = 'transport' and p.feature_id is null and p.log_ppl_edited_onwards is not null
)

select * from final
order by collection, operator, positions, sequence_id
