-- what stands on each list: the last change of each item, where that is an addition; list is the key of a list, deleted ones too
with last_changed as (
    select *
    from list_changes
    where action in ('add', 'remove')
    qualify row_number() over (
        partition by list, kind, weights_hash, feature_id, collection, operator
        order by change desc, number desc
    ) = 1
),

final as (
    select * exclude (name)
    from last_changed
    where action = 'add'
)

select * from final
order by list, kind, change, number
