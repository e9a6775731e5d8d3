-- one SAE feature through all layers that have SAEs: where it comes from, its own layer, what is left of it later
--
-- Earlier layers have the fate of feature_fate. Later ones, by decoder rows alone: carried (a feature of the later SAE has
-- its direction), rewritten (one has the direction that the operator carries it to), died (neither is near), undetermined.
-- born_at: the earliest layer from which, as from all between, the ridge operator transports it; its own layer where none does;
-- birth_seen says whether it was computed after an earlier layer, else it may be older. lives_until: the last layer to which
-- it is carried or rewritten without a gap.
with earlier as (
    select
        f.collection,
        f.sae,
        f.target_layer as home_layer,
        f.feature_id,
        f.source_layer as layer,
        f.source_sae as other_sae,
        f.fate,
        f.nearest_feature,
        f.decoder_cosine,
        f.decoder_cosine_chance,
        f.transport_feature,
        f.transport_cosine,
        f.transport_cosine_chance,
        f.r2,
        f.r2_low,
        f.r2_high,
        f.r2_identity,
        f.agreement,
        f.agreement_low,
        f.agreement_high,
        f.n_active,
        f.verdict_ridge = 'transported' as transported
    from feature_fate as f
    where f.source_sae is not null
),

latest as (
    select collection, evaluation, sae, part
    from latest_evaluations
    where kind = 'feature_links' and is_latest
),

later as (
    select
        f.collection,
        f.sae,
        f.layer as home_layer,
        f.feature_id,
        f.other_layer as layer,
        f.other_sae,
        case
            when f.decoder_verdict = 'transported' then 'carried'
            when f.transport_verdict = 'transported' then 'rewritten'
            when f.decoder_verdict = 'computed' and f.transport_verdict = 'computed' then 'died'
            else 'undetermined'
        end as fate,
        f.nearest_feature,
        f.decoder_cosine,
        f.decoder_cosine_chance,
        f.transport_feature,
        f.transport_cosine,
        f.transport_cosine_chance
    from feature_links as f
    semi join latest as l
        on
            l.collection = f.collection and l.evaluation = f.evaluation and l.sae = f.sae and l.part = f.other_sae
    where f.other_layer > f.layer
    qualify row_number() over (
        partition by f.collection, f.sae, f.feature_id, f.other_layer
        order by f.method = 'ridge' desc, f.method, f.other_sae
    ) = 1
),

known as (
    select distinct collection, sae, home_layer, feature_id from earlier
    union
    select distinct collection, sae, home_layer, feature_id from later
),

every as (
    select * from earlier
    union all by name
    select * from later
    union all by name
    select collection, sae, home_layer, feature_id, home_layer as layer, sae as other_sae, 'home' as fate from known
),

-- Without a gap: of the layers before it the nearest first, of those behind it likewise.
chained as (
    select
        *,
        bool_and(coalesce(transported, false) or fate in ('carried', 'rewritten', 'home')) over (
            partition by collection, sae, feature_id, layer <= home_layer
            order by abs(layer - home_layer)
        ) as unbroken
    from every
),

final as (
    select
        * exclude (unbroken, transported),
        min(layer) filter (where unbroken and layer <= home_layer) over whole as born_at,
        coalesce(bool_or(fate = 'computed') over whole, false) as birth_seen,
        coalesce(max(layer) filter (where unbroken and layer > home_layer) over whole, home_layer) as lives_until
    from chained
    window whole as (partition by collection, sae, feature_id)
)

select * from final
order by collection, home_layer, sae, feature_id, layer
