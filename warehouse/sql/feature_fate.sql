-- every view of one SAE feature from one source layer: operators, decoder rows, pathways, ablation; and where they disagree
--
-- fate, from the two verdicts on r2: carried (the ridge operator transports it, and so does the identity), rewritten (the
-- operator transports it, the identity does not: another direction holds it at the source), computed (the operator does not)
-- or undetermined. A view is one of the verdicts; views disagree where one says transported and another computed.
with chosen_operators as (
    select collection, operator
    from operators
    where position_policy = 'same'
    qualify row_number() over (
        partition by collection, source_layer, target_layer, method
        order by r2_val desc nulls last, operator
    ) = 1
),

latest as (
    select collection, kind, evaluation, sae, operator, source_layer, method, part
    from latest_evaluations
    where is_latest
),

scores as (
    select f.*
    from feature_transport as f
    semi join chosen_operators as o on o.collection = f.collection and o.operator = f.operator
    semi join latest as l
        on
            l.kind = 'feature_transport' and l.collection = f.collection and l.evaluation = f.evaluation
            and l.sae = f.sae and l.operator = f.operator
),

by_method as (
    select
        collection,
        sae,
        feature_id,
        source_layer,
        any_value(target_layer) as target_layer,
        any_value(leap) as leap,
        bool_and(sae_trusted) as sae_trusted,
        max(n_active) as n_active,
        max(n_documents) as n_documents,
        max(r2) filter (where method = 'ridge') as r2,
        max(r2_low) filter (where method = 'ridge') as r2_low,
        max(r2_high) filter (where method = 'ridge') as r2_high,
        max(verdict) filter (where method = 'ridge') as verdict_ridge,
        max(ceiling) filter (where method = 'ridge') as ceiling,
        max(ceiling_low) filter (where method = 'ridge') as ceiling_low,
        max(ceiling_high) filter (where method = 'ridge') as ceiling_high,
        max(r2) filter (where method = 'identity') as r2_identity,
        max(r2_low) filter (where method = 'identity') as r2_identity_low,
        max(r2_high) filter (where method = 'identity') as r2_identity_high,
        max(verdict) filter (where method = 'identity') as verdict_identity,
        max(r2) filter (where method = 'jacobian') as r2_jacobian,
        max(r2_low) filter (where method = 'jacobian') as r2_jacobian_low,
        max(r2_high) filter (where method = 'jacobian') as r2_jacobian_high,
        max(verdict) filter (where method = 'jacobian') as verdict_jacobian,
        max(r2) filter (where method = 'permuted') as r2_null
    from scores
    group by collection, sae, feature_id, source_layer
),

ancestors as (
    select f.*
    from feature_links as f
    semi join latest as l
        on
            l.kind = 'feature_links' and l.collection = f.collection and l.evaluation = f.evaluation
            and l.sae = f.sae and l.part = f.other_sae
    where f.other_layer < f.layer
    qualify row_number() over (
        partition by f.collection, f.sae, f.feature_id, f.other_layer
        order by f.method = 'ridge' desc, f.method, f.other_sae
    ) = 1
),

tested as (
    select f.*
    from feature_ablations as f
    semi join latest as l
        on
            l.kind = 'feature_ablations' and l.collection = f.collection and l.evaluation = f.evaluation
            and l.sae = f.sae and l.source_layer = f.source_layer and l.method = f.method
    qualify row_number() over (
        partition by f.collection, f.sae, f.feature_id, f.source_layer, f.direction
        order by f.method = 'ridge' desc, f.method
    ) = 1
),

ablated as (
    select
        collection,
        sae,
        feature_id,
        source_layer,
        max(n_tokens) filter (where direction = 'pullback') as n_ablated,
        max(n_documents) filter (where direction = 'pullback') as n_ablated_documents,
        max(agreement) filter (where direction = 'pullback') as agreement,
        max(agreement_low) filter (where direction = 'pullback') as agreement_low,
        max(agreement_high) filter (where direction = 'pullback') as agreement_high,
        max(agreement_identity) filter (where direction = 'pullback') as agreement_identity,
        max(slope) filter (where direction = 'pullback') as slope,
        max(slope_low) filter (where direction = 'pullback') as slope_low,
        max(slope_high) filter (where direction = 'pullback') as slope_high,
        max(predicted) filter (where direction = 'pullback') as predicted,
        max(measured) filter (where direction = 'pullback') as measured,
        max(measured) filter (where direction = 'random') as measured_random,
        max(agreement) filter (where direction = 'matched') as agreement_matched,
        max(slope) filter (where direction = 'matched') as slope_matched,
        max(verdict) filter (where direction = 'pullback') as verdict_causal
    from tested
    group by collection, sae, feature_id, source_layer
),

joined as (
    select
        b.collection,
        b.sae,
        b.target_layer,
        b.feature_id,
        b.source_layer,
        b.leap,
        a.other_sae as source_sae,
        b.sae_trusted,
        b.n_active,
        b.n_documents,
        b.r2,
        b.r2_low,
        b.r2_high,
        b.r2_identity,
        b.r2_identity_low,
        b.r2_identity_high,
        b.r2_jacobian,
        b.r2_jacobian_low,
        b.r2_jacobian_high,
        b.r2_null,
        b.ceiling,
        b.ceiling_low,
        b.ceiling_high,
        a.nearest_feature,
        a.decoder_cosine,
        a.decoder_cosine_chance,
        a.transport_feature,
        a.transport_cosine,
        a.transport_cosine_chance,
        a.through,
        a.through_low,
        a.through_high,
        a.through_transported,
        a.through_transported_low,
        a.through_transported_high,
        a.not_transported,
        a.not_transported_low,
        a.not_transported_high,
        c.n_ablated,
        c.n_ablated_documents,
        c.agreement,
        c.agreement_low,
        c.agreement_high,
        c.agreement_identity,
        c.slope,
        c.slope_low,
        c.slope_high,
        c.predicted,
        c.measured,
        c.measured_random,
        c.agreement_matched,
        c.slope_matched,
        b.verdict_ridge,
        b.verdict_identity,
        b.verdict_jacobian,
        a.decoder_verdict as verdict_decoder,
        a.pathway_verdict as verdict_pathway,
        c.verdict_causal,
        case
            when b.verdict_ridge = 'transported' and b.verdict_identity = 'transported' then 'carried'
            when b.verdict_ridge = 'transported' and b.verdict_identity = 'computed' then 'rewritten'
            when b.verdict_ridge = 'computed' then 'computed'
            else 'undetermined'
        end as fate,
        [
            b.verdict_ridge, b.verdict_identity, b.verdict_jacobian, a.decoder_verdict, a.pathway_verdict, c.verdict_causal
        ] as verdicts
    from by_method as b
    left join ancestors as a
        on
            a.collection = b.collection and a.sae = b.sae and a.feature_id = b.feature_id
            and a.other_layer = b.source_layer
    left join ablated as c
        on
            c.collection = b.collection and c.sae = b.sae and c.feature_id = b.feature_id
            and c.source_layer = b.source_layer
),

final as (
    select
        * exclude (verdicts),
        len(list_filter(verdicts, lambda v: v = 'transported')) as n_views_transported,
        len(list_filter(verdicts, lambda v: v = 'computed')) as n_views_computed,
        n_views_transported > 0 and n_views_computed > 0 as views_disagree
    from joined
)

select * from final
order by collection, target_layer, sae, feature_id, source_layer
