-- notes on features and operators that were not taken back, with the collections and SAEs of this warehouse in which these are found
--
-- note: key of the note. Otherwise as in list_members: one row for each SAE here with the feature's weights.
with saes_here as (
    select collection, sae, layer, weights_hash from saes
    union
    select collection, sae, layer, weights_hash from studied_saes
),

noted as (
    select * from list_changes
    where action = 'note'
    qualify row_number() over (partition by note order by change, number) = 1
),

taken_back as (
    select note from list_changes
    where action = 'take back'
),

final as (
    select
        n.note,
        n.kind,
        if(n.kind = 'feature', s.collection, n.collection) as collection,
        coalesce(s.sae, n.sae) as sae,
        coalesce(s.layer, n.layer, o.target_layer) as layer,
        n.feature_id,
        n.operator,
        n.text,
        n.author,
        coalesce(n.made_at, n.changed_at) as noted_at,
        n.weights_hash
    from noted as n
    anti join taken_back using (note)
    left join saes_here as s on n.kind = 'feature' and s.weights_hash = n.weights_hash
    left join operators as o on n.kind = 'operator' and o.collection = n.collection and o.operator = n.operator
)

select * from final
order by noted_at, note, collection, sae
