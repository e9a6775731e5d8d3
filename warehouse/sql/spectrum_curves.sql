-- one singular value of an operator, thinned to about 200 for charts; those that are zero to rounding are left out
with modes as (
    select collection, operator, mode, singular_value, max(singular_value) over whole as largest
    from operator_spectra
    window whole as (partition by collection, operator)
),

counted as (
    select collection, operator, mode, singular_value, count(*) over (partition by collection, operator) as n_modes
    from modes
    where singular_value > 1e-9 * largest
),

final as (
    select *
    from counted
    where mode <= 48 or mode % ceil(n_modes / 160) = 0
)

select * from final
order by collection, operator, mode
