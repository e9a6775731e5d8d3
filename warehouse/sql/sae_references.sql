-- each SAE of a collection, published SAEs and trivial reconstructions with their quality, and the thresholds of trust
--
-- kind: sae, of the collection; published, as its authors or SAE Lens measured it on another model and text; trivial, by definition.
-- Published: explained variance and loss recovered from metrics.json and README files on huggingface.co (column reference); of 6,144
-- tokens where they say so. Older versions of SAE Lens averaged the explained variance token by token, so that FVU may differ a little from ours.
with published (label, architecture, model, layer, n_layers, site, d_sae, l0, fvu, ce_recovered, n_tokens, reference) as (
    values
        ('OpenAI, GPT-2 small, layer 1', 'topk', 'gpt2', 1, 12, 'resid_mid', 32768, 32.0, 1 - 0.960833, 0.999437, 6144, 'jbloom/GPT2-Small-OAI-v5-32k-resid-mid-SAEs'),
        ('OpenAI, GPT-2 small, layer 7', 'topk', 'gpt2', 7, 12, 'resid_mid', 131072, 31.997, 1 - 0.928668, 0.992687, 6144, 'neuronpedia/gpt2-small__res_mid_128k-oai'),
        ('OpenAI, GPT-2 small, layer 10', 'topk', 'gpt2', 10, 12, 'resid_mid', 131072, 31.998, 1 - 0.877616, 0.984866, 6144, 'jbloom/GPT2-Small-OAI-v5-128k-resid-mid-SAEs'),
        ('Bloom, Gemma 2B, layer 0', 'standard', 'gemma-2b', 0, 18, 'resid_post', 16384, 54.0, null, 0.991, null, 'jbloom/Gemma-2b-Residual-Stream-SAEs'),
        ('Bloom, Gemma 2B, layer 6', 'standard', 'gemma-2b', 6, 18, 'resid_post', 16384, 53.0, null, 0.9533, null, 'jbloom/Gemma-2b-Residual-Stream-SAEs'),
        ('Bloom, Gemma 2B IT, layer 12', 'standard', 'gemma-2b-it', 12, 18, 'resid_post', 16384, 58.0, null, 0.9813, null, 'jbloom/Gemma-2b-IT-Residual-Stream-SAEs')
),

-- The identity keeps everything; the mean explains no variance; zero ablation is what the recovered loss is measured from.
trivial (label, fvu, ce_recovered) as (
    values ('identity', 0.0, 1.0), ('mean of the tokens', 1.0, null), ('zero ablation', null, 0.0)
),

thresholds as (
    select
        collection,
        key as sae,
        (settings ->> 'max_fvu')::double as max_fvu,
        (settings ->> 'min_ce_recovered')::double as min_ce_recovered,
        (settings ->> 'max_dead_share')::double as max_dead_share
    from stage_runs
    where stage = 'saes'
    qualify row_number() over (partition by collection, key order by started_at desc) = 1
),

own as (
    select
        s.collection, 'sae' as kind, s.sae, 'layer ' || s.layer as label, s.architecture, c.model, s.layer,
        null::integer as n_layers, s.site, s.d_sae, s.l0, s.fvu, s.fvu_low, s.fvu_high, s.ce_recovered,
        s.ce_recovered_low, s.ce_recovered_high, s.dead_share, s.n_tokens, s.n_documents, s.trusted,
        s.distrust_reason, t.max_fvu, t.min_ce_recovered, t.max_dead_share, s.source as reference
    from saes as s
    left join thresholds as t using (collection, sae)
    left join collections as c using (collection)
),

collections_with_saes as (
    select distinct collection from own
),

final as (
    select * from own
    union all by name
    select k.collection, 'published' as kind, p.* replace ('https://huggingface.co/' || p.reference as reference)
    from collections_with_saes as k cross join published as p
    union all by name
    select k.collection, 'trivial' as kind, t.*
    from collections_with_saes as k cross join trivial as t
)

select * from final
order by collection, kind = 'trivial', kind = 'published', layer, label, sae
