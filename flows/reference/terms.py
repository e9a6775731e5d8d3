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
        "A feature that the source layer does not predict linearly: the blocks in between made it.",
        ("feature_transport.verdict",),
        ("evaluate.computed_below",),
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
        "fresh, stale, missing",
        "State of a stage by its manifests. Stale: what it read has been made again, or with other settings, since it was made, or "
        "it reads a stale stage. Missing: nothing has made it yet.",
        ("stage_runs.inputs", "stage_runs.started_at"),
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
        "Jacobian operator",
        "The mean over train tokens of the derivative of the target's residual by the source's, as an affine map through "
        "the train means. It says what a small change would do; a fitted operator says what is predicted. Where they "
        "differ, a feature is correlated with what predicts it, not carried by it.",
        ("jacobians.relative_error", "jacobian_convergence.change", "jacobians.identity_cosine"),
        ("jacobians.probes", "jacobians.positions", "jacobians.tolerance"),
    ),
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
        ("evaluate.transported_above", "evaluate.computed_below"),
    ),
    Term(
        "verdict",
        "Transported, computed or undetermined, from the interval of a feature's r2 and never from the value alone. It "
        "holds for one operator, one SAE and one text; the limits are conventions.",
        ("feature_transport.verdict",),
        ("evaluate.transported_above", "evaluate.computed_below"),
    ),
    Term(
        "absorption_fraction",
        "A feature stays silent on tokens on which its concept is present, since a narrower feature took its place there.",
        ("sae_quality.metric",),
    ),
    Term(
        "agreement between seeds",
        "Features of two SAEs with equal settings but their seeds, matched one to one: the mean cosine of their decoder rows, "
        "beside what a random dictionary reaches. What one seed alone finds is not a property of the model.",
        ("sae_agreement.mean_cosine", "sae_agreement.null_mean_cosine", "sae_agreement.share_same"),
        ("sae_study.seeds",),
    ),
    Term(
        "attribution, gradient x activation",
        "What a feature contributes to the next-token loss to first order, without removing it; ablation removes it and "
        "measures. Their rank agreement says how far the former can be trusted.",
        ("feature_attribution.gradient_x_activation", "feature_attribution.ablation_effect"),
        ("sae_study.looking.attribution_sequences", "sae_study.looking.attribution_features"),
    ),
    Term(
        "cluster of features, stability",
        "Features whose decoder rows point alike. A cluster that another seed of the clustering does not find again is not "
        "stable, and means nothing.",
        ("feature_clusters.cluster", "feature_clusters.stability", "feature_clusters.cluster_stability"),
        ("sae_study.looking.cluster_method",),
    ),
    Term(
        "drift",
        "How far the tokens that a feature fires on have changed since it emerged: 1 - the share that are the same.",
        ("feature_emergence.drift",),
    ),
    Term(
        "emergence",
        "The first snapshot of an SAE's training from which a feature's decoder row stays near its final self. It is born when "
        "it first fires, dies when it fires no more, and is split where several final features share one of the first snapshot.",
        ("feature_emergence.emerged_step", "feature_emergence.born_step", "feature_emergence.split_from"),
        ("sae_study.looking.emerged_cosine", "sae_study.training.n_snapshots"),
    ),
    Term(
        "family of features",
        "A feature and the one of a lower layer whose decoder row is nearest, held together by three measures: cosine, cosine "
        "after the operator between the layers, and activity on the same tokens. The cosine by itself is misleading.",
        ("feature_families.decoder_cosine", "feature_families.transport_cosine", "feature_families.activation_jaccard"),
    ),
    Term(
        "frontier",
        "Error, or loss recovered, against L0: SAEs compare at equal L0 only, since more active features always fit better.",
        ("sae_quality.value",),
        ("sae_study.k",),
    ),
    Term(
        "probe, k-sparse probing",
        "Telling documents of one class (a topic, a decade) from all others by a few features of an SAE, beside random features "
        "and the whole mean residual.",
        ("sae_probing.auroc", "sae_probing.reader"),
        ("sae_study.judging.probing_k", "sae_study.judging.min_documents"),
    ),
    Term(
        "shrinkage",
        "Slope of the residual on its reconstruction; 1 is none, above 1 reconstructions are too small, as an L1 penalty makes "
        "them.",
        ("sae_quality.metric",),
    ),
    Term(
        "spread over seeds",
        "How far a metric differs between SAEs with equal settings but their seeds: the standard deviation, and of a difference "
        "of two kinds of SAE the root of the sum of both squares. A smaller difference is not a finding.",
        ("studied_saes.seed",),
        ("sae_study.seeds",),
    ),
    Term(
        "study of SAEs",
        "Many SAEs of one collection, trained on the same tokens in the same order, with baselines at equal L0, all judged on "
        "the same held-out tokens.",
        ("sae_studies.study", "studied_saes.architecture"),
        ("sae_study.architectures", "sae_study.saes", "sae_study.judging.baselines"),
    ),
    Term(
        "innovation",
        "What the layers in between computed: v = y - T x - b, the residual at a target layer less what an operator predicts of "
        "it from an earlier one. An innovation SAE has features of v and rebuilds y as T x + b plus what it decodes.",
        ("innovation_saes.operator", "innovation_comparisons.difference", "innovation_comparisons.scope"),
        ("sae_study.saes",),
    ),
    Term(
        "description of a feature",
        "A phrase that says what a feature fires on, written by a judge from windows of train documents. It counts for as "
        "much as its tests on other documents say.",
        ("feature_descriptions.description", "feature_descriptions.chosen"),
        ("label.judge", "label.n_candidates"),
    ),
    Term(
        "detection",
        "The test of a description: does its feature fire in this text? Asked of texts in which it fires and of silent ones; "
        "the score is the balanced accuracy, 0.5 for one who guesses.",
        ("detection_trials.scorer", "description_scores.score"),
        ("label.scorers", "label.n_trials"),
    ),
    Term(
        "intruder test",
        "Which of five texts does not belong, where a feature fires in four? It needs no description: it tells whether what a "
        "feature fires on is one thing at all.",
        ("detection_trials.expected", "description_scores.chance"),
        ("label.scorers",),
    ),
    Term(
        "shuffled control",
        "A test with the description of another feature: what it scores above chance is owed to the texts, and not to the "
        "description.",
        ("description_scores.control",),
        ("label.shuffled",),
    ),
    Term(
        "search by meaning",
        "Features by the largest cosine of the query's sentence embedding with one of their texts. Its p is the share of unrelated "
        "everyday phrases whose best match is as similar: the best of many similarities is high whatever is asked.",
        ("feature_embeddings.vector", "embedding_nulls.similarity"),
        ("embed.kinds",),
    ),
    Term(
        "silent window",
        "A piece of text at every token of which a feature was computed and is 0, from any text, from text like that it fires "
        "on, or from where its neighbours fire.",
        ("example_windows.tier",),
        ("label.windows.n_silent", "label.windows.pool"),
    ),
    Term(
        "attribution graph",
        "Which features of a prompt make which others, and the logits: an edge is a feature's activation times the derivative of "
        "the target along its decoder row, in the model with norms, attention and gates held. Edges into a node sum to its value.",
        ("graph_edges.weight", "graphs.conservation_residual"),
        ("graphs.kinds", "graphs.max_features"),
    ),
    Term(
        "transport graph",
        "The same features with edges by the operators between their layers; what the operator misses has a node of its own.",
        ("graph_edges.transport_weight", "graphs.transport_share"),
        ("graphs.kinds",),
    ),
    Term(
        "head's part of an edge",
        "The part of an edge's weight on paths whose last attention head this is. Parts of all heads and the direct path sum to "
        "the weight.",
        ("graph_heads.contribution", "graph_heads.direct", "graph_heads.through"),
        ("graphs.n_traced_edges",),
    ),
    Term(
        "traced score",
        "Why a head looked at a position: the score as a sum over pairs of what writes into the query and into the key.",
        ("graph_heads.score", "graph_qk.weight"),
        ("graphs.n_traced_scores", "graphs.n_pairs"),
    ),
    Term(
        "supernode",
        "Features at one position that write nearly the same direction, proposed as one node of a graph.",
        ("graph_supernodes.cosine",),
        ("graphs.supernode_cosine",),
    ),
    Term(
        "fate of a feature",
        "What has become of it on its way from an earlier layer: carried (the operator transports it, and so does the identity), "
        "rewritten (the operator does, the identity does not), computed (the operator does not) or undetermined.",
        ("feature_transport.verdict", "feature_links.decoder_cosine"),
        ("evaluate.transported_above", "evaluate.computed_below", "fate.same_above"),
    ),
    Term(
        "causal agreement",
        "A direction is moved to its mean at one token of the source layer: how well the operator predicts the change of the "
        "feature at the target layer of the running model. 1: exactly; 0: no better than no change.",
        ("feature_ablations.agreement", "feature_ablations.slope", "feature_ablations.direction"),
        ("fate.n_features", "fate.n_tokens"),
    ),
    Term(
        "pathway",
        "Share of a feature's pre-activation, without its constant, that comes through the operator, and through one feature of the "
        "source layer.",
        ("feature_links.through", "feature_links.not_transported"),
        (),
    ),
    Term(
        "replacement score",
        "Share of a graph's influence that comes from tokens and first features, and not from what SAEs leave out.",
        ("graphs.replacement", "graphs.completeness"),
        ("graphs.node_threshold", "graphs.edge_threshold"),
    ),
    Term(
        "changed feature",
        "A feature whose r2 in another model differs from that in this one, each by its own operator on the same documents, beyond what "
        "chance and the smallest change of interest allow.",
        ("feature_comparisons.changed", "feature_comparisons.difference"),
        ("compare.false_discovery", "compare.smallest_change"),
    ),
)
