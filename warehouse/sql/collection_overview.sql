-- one collection: model, corpus, tokens kept, splits and number of results
with all_collections as (
    select * from collections
),

split_sizes as (
    select
        collection,
        count(distinct document_id) filter (where split = 'train') as n_documents_train,
        count(distinct document_id) filter (where split = 'val') as n_documents_val,
        count(distinct document_id) filter (where split = 'test') as n_documents_test,
        coalesce(sum(n_tokens) filter (where split = 'train'), 0)::bigint as n_tokens_train,
        coalesce(sum(n_tokens) filter (where split = 'val'), 0)::bigint as n_tokens_val,
        coalesce(sum(n_tokens) filter (where split = 'test'), 0)::bigint as n_tokens_test
    from sequences
    group by collection
),

sae_counts as (
    select collection, count(*) as n_saes, count(*) filter (where trusted) as n_saes_trusted
    from saes
    group by collection
),

operator_counts as (
    select
        collection,
        count(*) as n_operators,
        count(distinct (source_layer, target_layer)) as n_pairs,
        max(r2_test) filter (where method not in $baselines) as best_r2_test
    from operators
    group by collection
),

final as (
    select
        c.collection,
        c.model,
        c.corpus,
        c.layers,
        c.d_model,
        c.n_documents,
        c.n_sequences,
        c.n_tokens,
        c.n_kept,
        1 - c.n_kept / c.n_tokens as share_dropped,
        c.dropped_by_reason,
        s.n_documents_train,
        s.n_documents_val,
        s.n_documents_test,
        s.n_tokens_train,
        s.n_tokens_val,
        s.n_tokens_test,
        coalesce(a.n_saes, 0) as n_saes,
        coalesce(a.n_saes_trusted, 0) as n_saes_trusted,
        coalesce(o.n_pairs, 0) as n_pairs,
        coalesce(o.n_operators, 0) as n_operators,
        o.best_r2_test,
        c.fewer_tokens_than_dimensions,
        c.created_at
    from all_collections as c
    left join split_sizes as s using (collection)
    left join sae_counts as a using (collection)
    left join operator_counts as o using (collection)
)

select * from final
order by created_at, collection
