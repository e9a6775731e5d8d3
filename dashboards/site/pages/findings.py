"""Page ``findings``: what the study found, and what it was made of."""

from collections.abc import Collection

from dashboards.site.declarations import Column, Page, Panel
from dashboards.ui.declared import TO_OPERATOR, interval

FINDINGS = """select topic, sentence, page, finding
from finding_sentences
where collection = $collection
order by place"""

STUDY = """select model, corpus, array_to_string(layers, ', ') as layers, d_model, n_documents, n_tokens, n_kept, n_tokens_test,
    n_saes, n_saes_trusted, n_pairs, n_operators, best_r2_test
from collection_overview
where collection = $collection"""

BEST = """with best as (
    select
        collection, operator, source_layer, target_layer, leap, method, position_policy, r2_test, r2_test_low, r2_test_high,
        n_test, n_test_documents
    from operators
    where collection = $collection and method not in ('identity', 'mean') and r2_test is not null
    qualify row_number() over (partition by source_layer, target_layer order by r2_val desc nulls last, operator) = 1
),

scored as (
    select operator, mean_r2, mean_r2_low, mean_r2_high, n_features_scored, share_transported, sae
    from transport_map
    where collection = $collection and is_latest
    qualify row_number() over (partition by operator order by sae_trusted desc, sae) = 1
)

select
    b.source_layer, b.target_layer, b.leap, b.method, b.position_policy, b.r2_test, b.r2_test_low, b.r2_test_high, b.n_test,
    b.n_test_documents, s.mean_r2, s.mean_r2_low, s.mean_r2_high, s.n_features_scored, s.share_transported
from best as b
left join scored as s using (operator)
order by b.target_layer, b.source_layer"""


def page(known: Collection[str]) -> Page:
    """The landing page; its list of findings only where there is the mart."""
    listed = Panel(
        "What was found",
        FINDINGS,
        note="Numbers with their 95 % intervals and n, from the mart findings, which has the SQL of each.",
        empty="No findings for this collection.",
        view="sentences",
    )
    study = Panel(
        "The study",
        STUDY,
        note="Kept tokens enter statistics; test tokens judge. Best r2: of the whole residual on test tokens, over all layer pairs.",
        empty="Nothing is known of this collection.",
        view="facts",
        columns=(
            Column("model", "model"),
            Column("corpus", "text"),
            Column("layers", "layers"),
            Column("d_model", "dimensions of the residual", "integer"),
            Column("n_documents", "documents", "integer"),
            Column("n_tokens", "tokens", "integer"),
            Column("n_kept", "kept tokens", "integer"),
            Column("n_tokens_test", "test tokens", "integer"),
            Column("n_saes", "SAEs", "integer"),
            Column("n_saes_trusted", "trusted SAEs", "integer"),
            Column("n_pairs", "layer pairs", "integer"),
            Column("n_operators", "operators", "integer"),
            Column("best_r2_test", "best r2"),
        ),
    )
    best = Panel(
        "The best operator of each layer pair",
        BEST,
        note="Chosen on validation tokens, scored on test tokens, with 95 % intervals by document. Mean r2 of features: over the "
        "scored features of the SAE at the target. A row leads to its operator.",
        empty="No operators in this collection.",
        columns=(
            Column("source_layer", "source", "integer"),
            Column("target_layer", "target", "integer"),
            Column("leap", "leap", "integer"),
            Column("method", "method"),
            *interval("r2_test", "r2"),
            *interval("mean_r2", "mean r2 of features"),
            Column("n_features_scored", "features", "integer"),
            Column("share_transported", "transported", "percent"),
            Column("n_test", "test tokens", "integer"),
            Column("n_test_documents", "test documents", "integer"),
        ),
        link=TO_OPERATOR,
    )
    panels = ((listed,) if "finding_sentences" in known else ()) + (study, best)
    return Page(
        "findings", "Findings", "What was found, in which study?", panels=panels, compared="collection:$collection"
    )
