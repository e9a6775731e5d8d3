-- what a study found: the numbers of its findings with interval and n, the page that shows more; `ato show findings` puts them into words
--
-- A finding has a row for each number: a measure of a pair of layers, a layer, or a subject (method, judge, prompt, other model).
-- is_headline: a number of the sentence; the others are in the picture. low, high: the 95 % interval of the tables; NULL where they
-- have none (counts, shares of fates). threshold: of the verdicts, from the settings of the evaluation. A finding has no rows where
-- its tables are empty.
with numbers as (
    from transport_findings
    union all by name
    from causal_findings
    union all by name
    from further_findings
),

topics (place, finding, topic, page) as (
    values
        (1, 'features_by_leap', 'How far features travel', 'transport'),
        (2, 'feature_verdicts', 'Transported or computed', 'transport'),
        (3, 'features_over_identity', 'Features: operator against identity', 'transport'),
        (4, 'residuals_over_identity', 'Residuals: operator against identity', 'operators'),
        (5, 'replacement_cost', 'What replacing residuals costs', 'causal'),
        (6, 'direct_or_composed', 'Direct or over a middle layer', 'transport'),
        (7, 'feature_fates', 'Fates of features', 'fate'),
        (8, 'sae_quality', 'Quality of the SAEs', 'saes'),
        (9, 'sae_architectures', 'Architectures of SAEs', 'sae_study'),
        (10, 'innovation_saes', 'Innovation SAEs', 'sae_study'),
        (11, 'entity_knowledge', 'Entity knowledge', 'entities'),
        (12, 'descriptions', 'Descriptions of features', 'labels'),
        (13, 'graph_edges', 'Graphs against ablations', 'graphs'),
        (14, 'graph_transport', 'Graphs: plain transport', 'graphs'),
        (15, 'other_models', 'Other models', 'compare')
),

final as (
    select
        n.collection,
        t.place,
        n.finding,
        t.topic,
        t.page,
        n.source_layer,
        n.target_layer,
        n.subject,
        n.measure,
        n.value,
        n.low,
        n.high,
        n.n,
        n.unit,
        n.is_headline,
        n.threshold,
        n.note
    from numbers as n
    inner join topics as t using (finding)
)

select * from final
order by collection, place, measure, target_layer, source_layer, subject
