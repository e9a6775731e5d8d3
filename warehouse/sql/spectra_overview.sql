-- spectrum of one operator: norm, effective rank and rotation
with modes as (
    select
        *,
        singular_value ** 2 / nullif(sum(singular_value ** 2) over whole, 0) as energy,
        sum(singular_value ** 2) over whole as total_energy,
        sum(singular_value ** 2) over so_far as leading_energy,
        sqrt(eigenvalue_real ** 2 + eigenvalue_imag ** 2) as magnitude
    from operator_spectra
    window
        whole as (partition by collection, operator),
        so_far as (partition by collection, operator order by mode rows between unbounded preceding and current row)
),

final as (
    select
        collection,
        operator,
        source_layer,
        leap,
        target_layer,
        position_policy,
        method,
        count(*) as n_modes,
        max(singular_value) as largest_singular_value,
        min(singular_value) as smallest_singular_value,
        median(singular_value) as median_singular_value,
        sqrt(max(total_energy)) as frobenius_norm,
        max(total_energy) / nullif(max(singular_value) ** 2, 0) as stable_rank,
        1 / nullif(sum(energy ** 2), 0) as participation,
        exp(-sum(energy * ln(energy)) filter (where energy > 0)) as entropy_rank,
        min(mode) filter (where leading_energy >= 0.9 * total_energy) as modes_for_90_percent,
        max(magnitude) as spectral_radius,
        -- Complex eigenvalues come in conjugate pairs; each pair rotates a plane.
        count(*) filter (where abs(eigenvalue_imag) > 1e-9 * magnitude) / nullif(count(magnitude), 0) as share_complex,
        count(*) filter (where magnitude > 1) as n_growing
    from modes
    group by all
)

select * from final
order by collection, source_layer, target_layer, position_policy, method, operator
