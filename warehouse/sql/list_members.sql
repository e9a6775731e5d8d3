-- what each named list holds now: features and operators, with the collections and SAEs of this warehouse in which they are found
--
-- A feature is known by the weights of its SAE: one row for each SAE here with these weights. Where there is none, collection is NULL,
-- and sae and layer are those under which it was listed.
with saes_here as (
    select collection, sae, layer, weights_hash from saes
    union
    select collection, sae, layer, weights_hash from studied_saes
),

members as (
    select l.list, m.* exclude (list)
    from listed_items as m
    inner join lists as l on l.list_key = m.list
),

final as (
    select
        m.list,
        m.kind,
        s.collection,
        coalesce(s.sae, m.sae) as sae,
        coalesce(s.layer, m.layer) as layer,
        m.feature_id,
        null::varchar as operator,
        m.weights_hash,
        m.author,
        coalesce(m.made_at, m.changed_at) as added_at
    from members as m
    left join saes_here as s using (weights_hash)
    where m.kind = 'feature'
    union all
    select
        m.list, m.kind, m.collection, null, o.target_layer, null, m.operator, null, m.author,
        coalesce(m.made_at, m.changed_at)
    from members as m
    left join operators as o using (collection, operator)
    where m.kind = 'operator'
)

select * from final
order by list, kind, collection, layer, sae, feature_id, operator
