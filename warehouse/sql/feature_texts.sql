-- texts that say what a feature is about: descriptions, strongest examples and promoted tokens, with the stage that made each
with looked_at as (
    select distinct collection, evidence as key, sae, 'label' as source from labelled_features
    union all
    select distinct collection, scoring, sae, 'features' from feature_scores
),

latest as (
    select l.collection, l.key
    from looked_at as l
    left join run_times as t using (collection, key)
    qualify row_number() over (partition by l.collection, l.sae, l.source order by t.made_at desc nulls last, l.key) = 1
),

descriptions as (
    select collection, sae, layer, feature_id, judge as source, labelling as made_by, description as text, 0 as place
    from feature_descriptions
    semi join (from latest_labellings where is_latest) using (collection, labelling)
    where chosen and description is not null
    union all
    select collection, sae, layer, feature_id, coalesce(explainer, source), null, description, 1
    from explanations
),

examples as (
    select
        collection, sae, layer, feature_id, 'label' as source, evidence as made_by,
        array_to_string(tokens, '') as text, activation, sequence_id, position
    from example_windows as e
    semi join latest on latest.collection = e.collection and latest.key = e.evidence
    where kind = 'top'
    union all
    select collection, sae, layer, feature_id, 'features', scoring, array_to_string(tokens, ''), activation, sequence_id, position
    from feature_examples as e
    semi join latest on latest.collection = e.collection and latest.key = e.scoring
    where kind = 'top'
),

tokens as (
    select
        collection, sae, layer, feature_id, 'label' as source, evidence as made_by,
        array_to_string(list_transform(promoted, lambda t: trim(t)), ', ') as text
    from labelled_features as e
    semi join latest on latest.collection = e.collection and latest.key = e.evidence
    union all
    select collection, sae, layer, feature_id, 'features', scoring, array_to_string(list_transform(top_tokens, lambda t: trim(t)), ', ')
    from feature_scores as e
    semi join latest on latest.collection = e.collection and latest.key = e.scoring
),

-- Examples and tokens of a feature are those of its labelling, else those of its scores.
final as (
    select
        collection, sae, layer, feature_id, 'description' as kind,
        row_number() over (partition by collection, sae, feature_id order by place, source, text) as number,
        source, trim(text) as text, made_by
    from descriptions
    union all
    select
        collection, sae, layer, feature_id, 'example',
        row_number() over (partition by collection, sae, feature_id order by activation desc, sequence_id, position),
        source, trim(text), made_by
    from (from examples qualify source = max(source) over (partition by collection, sae, feature_id))
    union all
    select collection, sae, layer, feature_id, 'tokens', 1, source, text, made_by
    from (from tokens qualify source = max(source) over (partition by collection, sae, feature_id))
)

select * from final
where text <> ''
order by collection, layer, sae, feature_id, kind, number
