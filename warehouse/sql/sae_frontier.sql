-- each metric of each kind of SAE of the latest study over its seeds, and whether it differs from the next best kind by more than seeds do
--
-- A kind: one architecture, width and k at one layer, SAEs and transcoders apart, those with a skip connection too; trained here, or one loaded SAE, or a baseline.
-- spread: sqrt(sd^2 + next sd^2), how far single trainings of the two lie apart by their seeds alone; NULL where one of the two has a
-- single seed, which tells nothing of it. A baseline in which nothing is drawn adds 0.
-- exceeds_spread: the two means differ by more than the spread; smaller differences are not findings.
-- at_equal_l0: mean L0 of the two differ by at most a tenth of the smaller: else the kinds are not compared at equal sparsity.
-- Kinds compete at equal layer, site, target site, skip, width and k; baselines, which have widths of their own, at equal layer, site and k.
-- Beside transcoders there is one, the linear map, which has no k.
with directions (metric, better) as (
    values
        ('fvu', 'lower'), ('explained_variance', 'higher'), ('ce_recovered', 'higher'), ('kl', 'lower'),
        ('dead_share', 'lower'), ('high_frequency_share', 'lower'), ('shrinkage', 'nearest to 1'),
        ('decoder_redundancy', 'lower'), ('absorption_fraction', 'lower'), ('matched_cosine', 'higher'),
        ('probe_auroc_1', 'higher'), ('probe_auroc_5', 'higher')
),

kinds as (
    select
        s.collection, s.study, s.layer, s.site, s.target_site, s.has_skip, s.source, s.is_baseline, s.architecture, s.d_sae, s.k, m.metric,
        count(m.value) as n_saes,
        count(distinct s.seed) filter (where m.value is not null) as n_seeds,
        avg(m.value) as mean,
        stddev_samp(m.value) as sd,
        min(m.value) as min,
        max(m.value) as max
    from latest_sae_study as s
    inner join sae_metrics as m using (collection, study, sae)
    group by all
),

judged as (
    select
        k.*,
        d.better,
        case d.better when 'lower' then k.mean when 'higher' then -k.mean when 'nearest to 1' then abs(k.mean - 1) end as loss,
        case
            when k.n_seeds > 1 then k.sd
            when k.is_baseline and k.n_saes = 1 and k.n_seeds = 0 then 0
        end as seed_sd
    from kinds as k
    left join directions as d using (metric)
),

with_l0 as (
    select *, max(mean) filter (where metric = 'l0') over kind as l0
    from judged
    window kind as (partition by collection, study, layer, site, target_site, has_skip, source, architecture, d_sae, k)
),

ranked as (
    select
        *,
        if(loss is null, null, row_number() over rivals) as place,
        if(loss is null, null, lead({
            'architecture': architecture, 'mean': mean, 'l0': l0, 'seed_sd': seed_sd
        }) over rivals) as next
    from with_l0
    where not is_baseline and k is not null
    window rivals as (
        partition by collection, study, layer, site, target_site, has_skip, d_sae, k, metric
        order by loss nulls last, architecture, source
    )
),

placed as (
    select * from ranked
    union all by name
    select *, null as place, null as next from with_l0 where is_baseline or k is null
),

best_baselines as (
    select *
    from with_l0
    where is_baseline and loss is not null
    qualify row_number() over (
        partition by collection, study, layer, site, target_site, k, metric order by loss, architecture, source
    ) = 1
),

final as (
    select
        p.collection,
        p.study,
        p.layer,
        p.site,
        p.target_site,
        p.has_skip,
        p.source,
        p.is_baseline,
        p.architecture,
        p.d_sae,
        p.k,
        p.metric,
        p.better,
        p.n_saes,
        p.n_seeds,
        p.mean,
        p.sd,
        p.min,
        p.max,
        p.l0,
        p.place,
        if(p.next.mean is null, null, p.next.architecture) as next_architecture,
        p.next.mean as next_mean,
        p.mean - p.next.mean as difference,
        sqrt(p.seed_sd ** 2 + p.next.seed_sd ** 2) as spread,
        abs(difference) > spread as exceeds_spread,
        abs(p.l0 - p.next.l0) <= 0.1 * least(p.l0, p.next.l0) as at_equal_l0,
        b.architecture as best_baseline,
        b.mean as baseline_mean,
        p.mean - b.mean as baseline_difference,
        sqrt(p.seed_sd ** 2 + b.seed_sd ** 2) as baseline_spread,
        b.loss - p.loss > baseline_spread as beats_baselines,
        abs(p.l0 - b.l0) <= 0.1 * least(p.l0, b.l0) as baseline_at_equal_l0
    from placed as p
    left join best_baselines as b
        on not p.is_baseline and b.collection = p.collection and b.study = p.study and b.layer = p.layer and b.site = p.site
        and b.target_site is not distinct from p.target_site and (b.k = p.k or b.target_site is not null)
        and b.metric = p.metric
)

select * from final
order by collection, metric, layer, site, target_site nulls first, has_skip, d_sae, k, is_baseline, place nulls last, architecture, source
