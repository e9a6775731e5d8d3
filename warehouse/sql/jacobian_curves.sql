-- a measured Jacobian after one more part of its text: its error and change, and the tolerance at which it stops
with rules as (
    select collection, key as jacobian, (settings ->> '$.tolerance')::double as tolerance
    from stage_runs
    where stage = 'jacobians'
),

final as (
    select
        c.collection, c.jacobian, c.source_layer, c.target_layer, c.leap, j.positions, c.part, c.n_tokens, c.n_documents,
        c.relative_error, c.change, r.tolerance, j.converged, j.probes, j.identity_cosine
    from jacobian_convergence as c
    inner join jacobians as j using (collection, jacobian)
    left join rules as r using (collection, jacobian)
)

select * from final
order by collection, jacobian, part
