-- innovation SAEs of the latest study beside plain ones: each metric of both, the difference with its interval, and whether L0 and parameters are equal
with compared as (
    select * from innovation_comparisons
),

final as (
    select
        s.collection,
        s.study,
        c.layers[-1] as layer,
        c.layers,
        len(c.layers) as n_layers,
        s.architecture,
        s.k,
        s.seed,
        s.d_sae,
        p.d_sae as plain_d_sae,
        c.scope,
        c.metric,
        c.innovation,
        c.innovation_low,
        c.innovation_high,
        c.plain,
        c.plain_low,
        c.plain_high,
        c.difference,
        c.difference_low,
        c.difference_high,
        c.difference_low > 0 or c.difference_high < 0 as differs,
        c.baseline,
        c.n,
        c.l0,
        c.plain_l0,
        abs(c.l0 - c.plain_l0) <= 0.1 * least(c.l0, c.plain_l0) as at_equal_l0,
        c.n_parameters,
        c.plain_n_parameters,
        abs(c.n_parameters - c.plain_n_parameters) <= 0.01 * c.plain_n_parameters as at_equal_parameters,
        w.source_layer,
        w.method,
        c.sae,
        c.other_sae
    from latest_sae_study as s
    inner join compared as c using (collection, study, sae)
    inner join innovation_saes as w using (collection, sae)
    inner join studied_saes as p on p.collection = c.collection and p.sae = c.other_sae
)

select * from final
order by collection, architecture, k, seed, n_layers, layer, scope, metric, plain_d_sae, sae
