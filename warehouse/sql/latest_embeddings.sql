-- the embeddings of each SAE; is_latest marks the one of its kind of texts that started last
with embeddings as (
    select collection, embedding, sae, layer, kind, encoder, count(*) as n_queries
    from embedding_nulls
    group by all
),

final as (
    select
        e.*,
        t.made_at,
        row_number() over (
            partition by e.collection, e.sae, e.kind, e.encoder
            order by t.made_at desc nulls last, e.embedding
        ) = 1 as is_latest
    from embeddings as e
    left join run_times as t on t.collection = e.collection and t.key = e.embedding
)

select * from final
order by collection, layer, sae, kind, made_at, embedding
