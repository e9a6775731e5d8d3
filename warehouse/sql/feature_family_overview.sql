-- features of an SAE of the latest study beside their nearest in a lower layer: do three measures of likeness agree?
--
-- alike_by_cosine: decoder cosine of at least 0.9; of these active_together fire together on at least half of the tokens of either.
with final as (
    select
        s.collection,
        s.study,
        s.sae,
        s.label,
        s.layer,
        f.source_sae,
        b.label as source_label,
        b.layer as source_layer,
        count(*) as n_features,
        max(f.n_tokens) as n_tokens,
        median(f.decoder_cosine) as median_decoder_cosine,
        median(f.transport_cosine) as median_transport_cosine,
        median(f.activation_r2) as median_activation_r2,
        median(f.activation_jaccard) as median_activation_jaccard,
        count(*) filter (where f.decoder_cosine >= 0.9) as alike_by_cosine,
        count(*) filter (where f.decoder_cosine >= 0.9 and f.activation_jaccard >= 0.5) as active_together,
        -- Of fewer than three features, or where one of them is the same for all, there is no correlation.
        if(
            count(f.activation_jaccard) > 2 and stddev_pop(f.decoder_cosine) > 0 and stddev_pop(f.activation_jaccard) > 0,
            corr(f.decoder_cosine, f.activation_jaccard), null
        ) as cosine_jaccard_correlation
    from latest_sae_study as s
    inner join feature_families as f using (collection, sae)
    left join studied_saes as b on b.collection = f.collection and b.sae = f.source_sae
    group by all
)

select * from final
order by collection, layer, label, sae, source_layer, source_sae
