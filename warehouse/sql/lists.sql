-- the named lists as they are now, with how many features and operators each holds; `ato list` changes them
--
-- list: name; list_key: what stays when the name changes. changed_at: of its members or its name.
with last_named as (
    select list, name
    from list_changes
    where name is not null
    qualify row_number() over (partition by list order by change desc, number desc) = 1
),

created as (
    select
        list,
        min_by(text, change) filter (where action = 'create') as description,
        min_by(author, change) filter (where action = 'create') as author,
        min(coalesce(made_at, changed_at)) filter (where action = 'create') as created_at,
        max(coalesce(made_at, changed_at)) as changed_at,
        bool_or(action = 'delete') as deleted
    from list_changes
    where list is not null
    group by list
),

counted as (
    select
        list,
        count(*) filter (where kind = 'feature') as n_features,
        count(*) filter (where kind = 'operator') as n_operators
    from listed_items
    group by list
),

final as (
    select
        n.name as list,
        c.description,
        coalesce(m.n_features, 0) as n_features,
        coalesce(m.n_operators, 0) as n_operators,
        c.author,
        c.created_at,
        c.changed_at,
        c.list as list_key
    from created as c
    inner join last_named as n using (list)
    left join counted as m using (list)
    where not c.deleted
)

select * from final
order by list, list_key
