"""The words of the results, each with the columns and settings that it stands for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One entry of the glossary."""

    name: str
    text: str
    """What it is, in words for a first reader."""
    columns: tuple[str, ...] = ()
    """``table.column``; the page shows what the declarations say of them."""
    settings: tuple[str, ...] = ()
    """``group.setting``; the page shows meaning and default."""


TERMS = (
    Term(
        "activation transport operator",
        "A regularised linear map with a bias from the residual at a source layer to the residual at a target layer.",
        ("operators.operator",),
        ("operators.methods",),
    ),
    Term(
        "baseline",
        "An operator that the fitted ones are held against: the identity, the mean of the train tokens, or a map fitted on "
        "pairs of shuffled documents. Whether it beats the identity is not asked of a baseline (NULL).",
        (),
        ("operators.methods",),
    ),
    Term(
        "causal check",
        "The residual at the target layer of the running model is replaced by what the operator predicts, and the rise of "
        "the next-token loss is measured; the same is done with its rivals.",
        ("causal_effects.delta_log_ppl", "causal_effects.kl"),
        ("causal.positions", "causal.n_sequences"),
    ),
    Term(
        "causal effect of a feature",
        "Rise of the next-token loss when what a feature adds to the residual is taken out, at the strongest activations "
        "in as many documents of validation text as the setting says.",
        ("feature_scores.causal_effect", "feature_scores.n_ablated_documents"),
        ("features.ablation_sequences", "features.ablation_tokens"),
    ),
    Term(
        "ceiling",
        "The most that any linear map can reach. In sample it is measured where the directions were fitted, which is too "
        "high; held out, with directions from train text and correlations from test text.",
        ("efficiency.ceiling_held_out", "efficiency.ceiling_in_sample", "feature_transport.ceiling"),
        ("evaluate.ranks",),
    ),
    Term(
        "collection",
        "The residuals of one model on one text with one choice of settings; all results belong to one. Its key ends in a "
        "hash of settings and inputs: equal settings give equal keys.",
        ("collections.collection",),
        ("collect.corpus", "collect.n_tokens"),
    ),
    Term(
        "computed",
        "A feature that the source layer does not predict linearly: the blocks in between made it. In tables the verdict "
        "is called `synthesised`.",
        ("feature_transport.verdict",),
        ("evaluate.synthesised_below",),
    ),
    Term(
        "document, interval by document",
        "Tokens of one document resemble each other, so a 95 % interval comes from leaving out one document at a time. "
        "Few documents say little: with fewer than five there is no interval.",
        ("feature_transport.n_documents", "operators.n_test_documents"),
    ),
    Term(
        "efficiency",
        "Whitened r2 of the best map of a rank as a share of the ceiling of that rank; 1 is all that a linear map can "
        "carry. It may lie above 1 by sampling.",
        ("efficiency.efficiency", "efficiency.r2_rrr"),
        ("evaluate.ranks",),
    ),
    Term(
        "feature",
        "A direction that a sparse autoencoder found in the residual stream, with an activation at each token.",
        ("feature_stats.activation_rate", "feature_stats.decoder_norm"),
        ("saes.d_sae", "saes.k"),
    ),
    Term(
        "features, all scored or selected",
        "Averages are over all scored features, those active on enough test tokens, unless the switch `features` (of the "
        "map's page, `ato show` and `ato report`) asks for the selected ones: the best by quality score, chosen without "
        "the test split.",
        ("feature_scores.score", "feature_scores.selected"),
        ("evaluate.min_active", "features.top_percent", "report.features"),
    ),
    Term(
        "FVU",
        "Fraction of variance unexplained: squared error of a reconstruction over the variance of the residual.",
        ("saes.fvu",),
        ("saes.max_fvu",),
    ),
    Term(
        "identity",
        "The source residual itself, taken for the target residual. Most of the residual stream is copied from earlier "
        "layers, so this is the rival that matters.",
        ("operators.skill",),
    ),
    Term(
        "intervention",
        "What the residual at the target layer is replaced by: the operator's prediction (`transport`), the source "
        "residual (`identity`), the mean residual, the operator's bias, a random rotation of the residual, or zero.",
        ("causal_perplexity.intervention", "causal_perplexity.positions"),
        ("causal.interventions",),
    ),
    Term("L0", "Average number of active features per token.", ("saes.l0",), ("saes.k",)),
    Term(
        "layer",
        "The residual stream after a block, counted from 0; never after the final norm.",
        ("operators.source_layer", "operators.target_layer"),
        ("operators.source_layers", "operators.target_layers"),
    ),
    Term(
        "leap",
        "Number of blocks from the source layer to the target layer.",
        ("operators.leap",),
        ("operators.leaps",),
    ),
    Term(
        "loss recovered",
        "How much of the loss that zeroing the residual costs is won back when the SAE's reconstruction takes its place; "
        "1 is all of it.",
        ("saes.ce_recovered",),
        ("saes.min_ce_recovered",),
    ),
    Term(
        "paired difference",
        "Loss under transport minus loss under a rival on the same sequences and positions; below 0 transport costs less. "
        "It excludes 0 where its 95 % interval does.",
        ("causal_differences.difference", "causal_differences.rival", "causal_differences.p"),
        ("causal.interventions",),
    ),
    Term(
        "`_paper`",
        "Columns that end so are computed as the published study does; plain names are the corrected numbers.",
        ("efficiency.efficiency_paper", "efficiency.ceiling_paper"),
    ),
    Term(
        "permutation null",
        "The same number with documents of the target shuffled against the source: what chance gives.",
        ("efficiency.ceiling_null",),
        ("operators.permutation_null",),
    ),
    Term(
        "position policy, source position",
        "Which source token predicts a target token: the same, the one before, one at an offset, or the most attended.",
        ("operators.position_policy",),
        ("operators.position_policy",),
    ),
    Term(
        "r2 of a feature",
        "Share of the variance along the feature's direction that the operator predicts, over test tokens where the SAE "
        "has the feature active. 1 is perfect, 0 no better than the mean, below 0 worse; NULL if active too rarely.",
        ("feature_transport.r2", "feature_transport.r2_all_tokens", "feature_transport.n_active"),
        ("evaluate.min_active",),
    ),
    Term(
        "r2 of the residual",
        "Share of the variance of the whole residual that the operator predicts on test tokens: averaged over dimensions, "
        "weighted by their variance, whitened (every direction counts equally), or of the update that the blocks add.",
        ("operators.r2_test", "operators.r2_weighted", "operators.r2_whitened", "operators.r2_update"),
    ),
    Term(
        "rank",
        "Number of directions that a map may use. A reduced-rank operator is the best map of its rank.",
        ("efficiency.rank", "operators.rank"),
        ("operators.rank", "evaluate.ranks"),
    ),
    Term(
        "rival",
        "An intervention that transport is held against, the identity first.",
        ("causal_differences.rival",),
    ),
    Term(
        "SAE, sparse autoencoder",
        "A wide layer of features, few of which are active at a token, trained to reconstruct the residual. It is trusted "
        "if it passes the thresholds of the settings.",
        ("saes.architecture", "saes.trusted", "saes.dead_share"),
        ("saes.max_fvu", "saes.min_ce_recovered", "saes.max_dead_share"),
    ),
    Term(
        "skill",
        "1 - squared error / squared error of the identity map. 1 is perfect, 0 no better than copying the source "
        "residual, below 0 worse.",
        ("operators.skill", "feature_transport.skill"),
    ),
    Term(
        "split",
        "Documents are divided into train (operators are fitted, features scored), val (strengths chosen, features "
        "ablated) and test (everything that is published) by a hash of their bytes.",
        ("sequences.split",),
        ("collect.split_seed",),
    ),
    Term(
        "stratum",
        "What the corpus says about its documents and comparisons are made by: topic, decade, president, folder, or a field "
        "of its records. A document has one value in each, or none with the reason.",
        ("document_strata.stratum", "document_strata.value"),
        ("collect.strata",),
    ),
    Term(
        "subspace size",
        "How many directions the two layers share linearly, as the participation ratio of the canonical correlations.",
        ("subspaces.lts_dim_participation",),
    ),
    Term(
        "transport map",
        "Mean r2 of the target SAE's features for each source and target layer. Each target has its own features: do not "
        "compare across columns.",
        (),
        ("report.features",),
    ),
    Term(
        "transported",
        "A feature that the source layer predicts linearly: the whole 95 % interval of its r2 lies at or above the upper "
        "limit.",
        ("feature_transport.verdict",),
        ("evaluate.transported_above",),
    ),
    Term(
        "undetermined",
        "The data decide neither: the interval of r2 reaches between the limits, or there is none.",
        ("feature_transport.verdict",),
        ("evaluate.transported_above", "evaluate.synthesised_below"),
    ),
    Term(
        "verdict",
        "Transported, computed or undetermined, from the interval of a feature's r2 and never from the value alone. It "
        "holds for one operator, one SAE and one text; the limits are conventions.",
        ("feature_transport.verdict",),
        ("evaluate.transported_above", "evaluate.synthesised_below"),
    ),
)
