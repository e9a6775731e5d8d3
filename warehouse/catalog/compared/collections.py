"""Two collections side by side: their size, their transport maps on one scale, and the difference of the maps."""

from warehouse.catalog.compared.statements import DIFFERENCES_NOTE, Part, both, differences, mean_of_pairs, measures

OWN = "collection = $collection"
_CELLS = f"""select source_layer, target_layer, sae, operator, evaluation, mean_r2, mean_r2_low, mean_r2_high, n_features_scored
from transport_map
where {OWN} and method = 'ridge' and position_policy = 'same' and is_latest
qualify row_number() over (partition by source_layer, target_layer order by sae_trusted desc, sae, operator) = 1"""
_SIZES = measures(
    f"select o.*, c.n_layers, c.seq_len from collection_overview as o inner join collections as c using (collection) where {OWN}",
    """
    documents | documents | n_documents | | | |
    tokens | tokens | n_tokens | | | |
    tokens kept | tokens | n_kept | | | |
    share of tokens dropped | share of tokens | share_dropped | | | n_tokens | tokens
    longest sequence | tokens | seq_len | | | |
    d_model | dimensions | d_model | | | |
    blocks of the model | blocks | n_layers | | | |
    SAEs | SAEs | n_saes | | | |
    operators | operators | n_operators | | | |
    """,
)
_MEAN = "'mean r2, ' || source_layer || ' to ' || target_layer"
_CTES = f"""cells as (
{both(_CELLS)}
),

pairs as (
    select l.source_layer, l.target_layer, l.sae as left_sae, l.operator as left_operator, l.evaluation as left_evaluation,
        r.sae as right_sae, r.operator as right_operator, r.evaluation as right_evaluation, l.mean_r2 as left_r2, r.mean_r2 as right_r2,
        l.mean_r2_low as left_r2_low, l.mean_r2_high as left_r2_high, r.mean_r2_low as right_r2_low, r.mean_r2_high as right_r2_high,
        l.n_features_scored as left_n, r.n_features_scored as right_n
    from (from cells where side = 'left') as l
    inner join (from cells where side = 'right') as r using (source_layer, target_layer)
),

-- Pairs of layers whose target has the same SAE in both.
of_one_sae as (
    select p.* from pairs as p
    inner join saes as l on l.collection = $left_collection and l.sae = p.left_sae
    inner join saes as r on r.collection = $right_collection and r.sae = p.right_sae
    where l.sae = r.sae or l.weights_hash = r.weights_hash
),

by_features as (
{
    mean_of_pairs(
        '''(
    select p.source_layer, p.target_layer, r.r2 - l.r2 as difference
    from of_one_sae as p
    inner join feature_transport as l
        on l.collection = $left_collection and l.sae = p.left_sae and l.operator = p.left_operator and l.evaluation = p.left_evaluation
    inner join feature_transport as r
        on r.collection = $right_collection and r.sae = p.right_sae and r.operator = p.right_operator and r.evaluation = p.right_evaluation
            and r.feature_id = l.feature_id
)''',
        "feature",
        "source_layer, target_layer",
    ).replace("source_layer, target_layer as quantity", "source_layer, target_layer")
}
),

by_documents as (
    select source_layer, target_layer, difference, difference_low, difference_high, n_documents as n_paired, 'document' as paired_by,
        n_features
    from operator_differences
    where left_collection = $left_collection and right_collection = $right_collection and stage = 'compare'
        and $left_collection <> $right_collection
)"""
DIFFERENCES = Part(
    "Differences",
    differences(
        f"""{both(_SIZES)}
union all
select side, 100 + target_layer * 1000 + source_layer, {_MEAN}, 'share of variance, mean over features', mean_r2, mean_r2_low, mean_r2_high,
    n_features_scored, 'features'
from cells""",
        f"""select {_MEAN} as quantity, difference, difference_low, difference_high, n_paired, paired_by from by_features
union all
select {_MEAN} || ', `ato run compare`', difference, difference_low, difference_high, n_paired, paired_by from by_documents""",
        ctes=f"{_CTES},\n\n",
    ),
    note=f"{DIFFERENCES_NOTE} Mean r2 of the ridge operator at the token's own position. By feature (Student's t): the features of "
    "one SAE that is in both collections.",
)
MAPS = Part(
    "Transport maps",
    f"""with cells as (
{both(_CELLS)}
)

select s.side, p.source_layer, p.target_layer, c.mean_r2, c.mean_r2_low, c.mean_r2_high, c.n_features_scored, c.sae, c.operator
from (select distinct source_layer, target_layer from cells) as p
cross join (select distinct side from cells) as s
left join cells as c on c.side = s.side and c.source_layer = p.source_layer and c.target_layer = p.target_layer
order by s.side, p.target_layer, p.source_layer""",
    note="Mean r2 over the scored features of the SAE at each target, by the ridge operator from each source; one scale for both. "
    "Pairs of layers that only the other has are grey.",
    empty="No ridge operator is evaluated in either: run `ato run evaluate`.",
)
DIFFERENCE_MAP = Part(
    "Difference of the maps",
    f"""with {_CTES},

compared as (
    select p.source_layer, p.target_layer, p.left_r2, p.left_r2_low, p.left_r2_high, p.right_r2, p.right_r2_low, p.right_r2_high,
        coalesce(d.difference, f.difference, p.right_r2 - p.left_r2) as difference,
        if(d.difference is null, f.difference_low, d.difference_low) as difference_low,
        if(d.difference is null, f.difference_high, d.difference_high) as difference_high,
        coalesce(d.n_paired, f.n_paired) as n_paired, coalesce(d.paired_by, f.paired_by) as paired_by,
        p.left_n, p.right_n, p.left_sae, p.right_sae
    from pairs as p
    left join by_documents as d using (source_layer, target_layer)
    left join by_features as f using (source_layer, target_layer)
)

select *, greatest(0.01, max(abs(difference)) over ()) as highest, -highest as lowest, count(*) over () as n_cells
from compared
order by target_layer, source_layer""",
    note="Right less left, of layer pairs that both have. Paired by document where `ato run compare` has compared the two, by feature "
    "where one SAE is in both; else the two SAEs have other features, and the means have no paired interval.",
    empty="No pair of layers is evaluated in both.",
)
TEXT = Part(
    "Model and text",
    f"""select * from (
{
        both(
            '''select collection, model, revision, corpus, site, layers, dtype, n_documents, n_tokens, created_at
from collections where collection = $collection'''
        )
    }
)
left join (
    select n_documents as n_documents_in_common from common_documents
    where left_collection = $left_collection and right_collection = $right_collection
) on true
order by side""",
    note="Documents in common are equal to the byte.",
)
PARTS = DIFFERENCES, MAPS, DIFFERENCE_MAP, TEXT
