"""Tables: studies of many sparse autoencoders: quality, agreement, emergence, clusters, maps, attribution."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int32,
    int64,
    string,
)

# fmt: off
STUDY = Column("study", string, "key of the study: its SAEs and how they are judged")
SAE = Column("sae", string, "key of the SAE within studies: its weights and how it is judged")
FEATURE = Column("feature_id", int32, "index of the feature in the SAE", minimum=0)
DENSITY = (
    Column("bin", int32, "number of the bin, from the rarest; 0: never active", minimum=0),
    Column("log10_rate_low", float64, "lower end of the bin: log10 of the activation rate; NULL for never active", nullable=True, maximum=0),
    Column("log10_rate_high", float64, "upper end of the bin; NULL for never active", nullable=True, maximum=0),
    Column("n_features", int64, "features in the bin", minimum=0),
)
"""A bin of a histogram of activation rates."""


def in_studies(table: str) -> Rule:
    """Every row is of an SAE of a study."""
    return Rule(
        "sae is in studied_saes",
        "sae",
        f"select distinct t.collection, t.sae from {table} as t anti join known_studied_saes using (collection, sae)",
    )


def share(name: str, meaning: str) -> Column:
    """A share; NULL where there is nothing to take it of."""
    return Column(name, float64, meaning, nullable=True, minimum=0, maximum=1)


TABLES = (
    Table(
        "studied_saes",
        "an SAE of a study, or a baseline that stands beside them",
        (
            COLLECTION,
            SAE,
            Column("label", string, "its name in tables and charts, such as topk k=32 seed 0"),
            Column("source", string, "trained, baseline, or the path or release it was loaded from"),
            LAYER,
            Column("site", string, "site that it reads"),
            Column("architecture", string, "how it was trained, such as batchtopk; a baseline's kind: pca, random or basis"),
            Column("d_sae", int32, "number of features", minimum=1),
            Column("k", int32, "active features per token that it was trained or made for; NULL if unknown", nullable=True, minimum=1),
            Column("seed", int64, "seed of its initial weights; NULL where nothing is drawn or known", nullable=True),
            Column("n_tokens_trained", int64, "tokens that it was trained on, repeats included; NULL if not trained here", unit="tokens", nullable=True, minimum=1),
            Column("path", string, "folder of the weights, relative to the warehouse"),
            Column("weights_hash", string, "SHA-256 of the weights, first 16 hex digits"),
        ),
        ("collection", "sae"),
        ("collection",),
    ),
    Table(
        "sae_studies",
        "which SAEs a study compares",
        (
            COLLECTION,
            STUDY,
            SAE,
            Column("looked_at", boolean, "true if it has snapshots, clusters, a map and attributions"),
        ),
        ("collection", "study", "sae"),
        ("collection",),
        rules=(in_studies("sae_studies"),),
    ),
    Table(
        "sae_quality",
        "a metric of an SAE on held-out text",
        (
            COLLECTION,
            SAE,
            Column("metric", string, "what is measured, see `python -m ato.sae_studies.metrics`"),
            Column("value", float64, "its value, in the metric's unit; NULL where it cannot be measured", nullable=True),
            Column("low", float64, "lower end of its 95 % interval by document", nullable=True),
            Column("high", float64, "upper end of its 95 % interval by document", nullable=True),
            Column("n", int64, "tokens, features or documents that it rests on, see the metric", minimum=0),
            Column("n_documents", int64, "documents that it rests on", minimum=0),
            Column("reason", string, "why it is NULL", nullable=True),
        ),
        ("collection", "sae", "metric"),
        ("collection", "sae"),
        rules=(
            in_studies("sae_quality"),
            Rule(
                "has a value or a reason",
                "value, reason",
                "select collection, sae, metric from sae_quality where (value is null) <> (reason is not null)",
            ),
        ),
    ),
    Table(
        "sae_density",
        "how many features of an SAE fire how often",
        (
            COLLECTION,
            SAE,
            *DENSITY,
        ),
        ("collection", "sae", "bin"),
        ("collection", "sae"),
        rules=(in_studies("sae_density"),),
    ),
    Table(
        "sae_snapshot_density",
        "how many features fired how often at a step of an SAE's training",
        (
            COLLECTION,
            SAE,
            Column("step", int64, "optimiser step", minimum=0),
            *DENSITY,
        ),
        ("collection", "sae", "step", "bin"),
        ("collection", "sae"),
        rules=(in_studies("sae_snapshot_density"),),
    ),
    Table(
        "sae_probing",
        "how well a few features of an SAE tell a stratum's documents from others",
        (
            COLLECTION,
            SAE,
            Column("stratum", string, "what divides the documents, such as decade or topic"),
            Column("value", string, "the class told from all others"),
            Column("k", int32, "numbers that the probe reads", minimum=1),
            Column("reader", string, "best: the k features chosen on train documents; random: k random ones; dense: the whole mean residual"),
            Column("auroc", float64, "area under the ROC curve on test documents; chance is 0.5", nullable=True, minimum=0, maximum=1),
            Column("auroc_low", float64, "lower end of its 95 % interval by document", nullable=True),
            Column("auroc_high", float64, "upper end of its 95 % interval by document", nullable=True),
            Column("n_train", int64, "train documents of the class", minimum=0),
            Column("n_test", int64, "test documents of the class", minimum=0),
            Column("n_others", int64, "test documents of other classes", minimum=0),
            Column("features", pa.list_(int32), "features that the probe reads", nullable=True),
            Column("reason", string, "why auroc is NULL", nullable=True),
        ),
        ("collection", "sae", "stratum", "value", "k", "reader"),
        ("collection", "sae"),
        rules=(in_studies("sae_probing"),),
    ),
    Table(
        "sae_agreement",
        "how far two SAEs of a study with equal settings but their seeds have the same features",
        (
            COLLECTION,
            STUDY,
            Column("sae", string, "key of the first SAE"),
            Column("other_sae", string, "key of the second"),
            Column("n_matched", int64, "pairs of features matched one to one, features that never fire left out", minimum=0),
            Column("mean_cosine", float64, "mean decoder cosine of the pairs", nullable=True, minimum=-1, maximum=1),
            share("share_same", "share of the pairs with a cosine of at least 0.9"),
            Column("mean_max_cosine", float64, "mean over the first one's features of the largest cosine to any of the second", nullable=True, minimum=-1, maximum=1),
            Column("null_mean_cosine", float64, "mean cosine of the pairs with a random dictionary in place of the second", nullable=True, minimum=-1, maximum=1),
        ),
        ("collection", "study", "sae", "other_sae"),
        ("collection",),
        rules=(in_studies("sae_agreement"),),
    ),
    Table(
        "sae_snapshots",
        "an SAE as it was at a step of its training, on held-out text",
        (
            COLLECTION,
            SAE,
            Column("step", int64, "optimiser step", minimum=0),
            Column("tokens", int64, "tokens trained on so far, repeats included", unit="tokens", minimum=0),
            Column("n_tokens", int64, "held-out tokens", unit="tokens", minimum=0),
            Column("fvu", float64, "fraction of variance unexplained", nullable=True, minimum=0),
            Column("l0", float64, "mean number of active features per token", nullable=True, minimum=0),
            share("dead_share", "share of features that fired on no held-out token"),
            share("high_frequency_share", "share of features active on more than a tenth of the tokens"),
            Column("median_log10_rate", float64, "median over features that fire of log10 of the activation rate", nullable=True, maximum=0),
            Column("mean_final_cosine", float64, "mean decoder cosine of features to their final selves", nullable=True, minimum=-1, maximum=1),
            share("emerged_share", "share of features that have emerged, see feature_emergence"),
        ),
        ("collection", "sae", "step"),
        ("collection", "sae"),
        rules=(in_studies("sae_snapshots"),),
    ),
    Table(
        "feature_emergence",
        "when a feature appeared in training, and what became of it",
        (
            COLLECTION,
            SAE,
            FEATURE,
            Column("emerged_step", int64, "first snapshot from which the cosine to its final decoder row stays large", minimum=0),
            Column("born_step", int64, "first snapshot in which it fires on held-out text; NULL: in none", nullable=True, minimum=0),
            Column("died_step", int64, "first snapshot from which it fires no more; NULL: alive at the end, or never born", nullable=True, minimum=0),
            Column("first_cosine", float64, "decoder cosine of the first snapshot to the final one", nullable=True, minimum=-1, maximum=1),
            share("first_jaccard", "tokens on which both the first and the final fire, of those on which either does"),
            share("drift", "1 - that share between the snapshot of emergence and the final one"),
            Column("split_from", int32, "feature of the first snapshot whose decoder row is nearest, where several final features share it; NULL: not split", nullable=True, minimum=0),
            Column("token_entropy_first", float64, "entropy of the token ids that it fires on when it is born", unit="nats", nullable=True, minimum=0),
            Column("token_entropy", float64, "entropy of the token ids that it fires on in the end", unit="nats", nullable=True, minimum=0),
            Column("stratum_entropy", float64, "entropy of the documents' strata that it fires in, in the end; NULL without strata", unit="nats", nullable=True, minimum=0),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(in_studies("feature_emergence"),),
    ),
    Table(
        "feature_clusters",
        "the cluster of a feature among the decoder rows of its SAE",
        (
            COLLECTION,
            SAE,
            FEATURE,
            Column("method", string, "hdbscan or kmeans"),
            Column("cluster", int32, "number of the cluster, the largest first; NULL: in none (noise)", nullable=True, minimum=0),
            Column("cluster_size", int64, "features in it", nullable=True, minimum=1),
            Column("stability", float64, "mean adjusted Rand index of the clustering over three seeds", nullable=True, minimum=-1, maximum=1),
            share("cluster_stability", "mean over the other seeds of the largest Jaccard index of this cluster with one of theirs"),
            Column("stable", boolean, "true if both are at least 0.6; NULL for noise", nullable=True),
            Column("versions", string, "versions of the libraries that made it"),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(in_studies("feature_clusters"),),
    ),
    Table(
        "feature_map",
        "the place of a feature on a map of the decoder rows of its SAE",
        (
            COLLECTION,
            SAE,
            FEATURE,
            Column("method", string, "umap or pca"),
            Column("x", float64, "first coordinate; only near and far mean something"),
            Column("y", float64, "second coordinate"),
            Column("activation_rate", float64, "share of held-out tokens on which it fires", minimum=0, maximum=1),
            Column("max_activation", float64, "its largest activation on held-out text", nullable=True, minimum=0),
            Column("token_ids", pa.list_(int32), "tokens on which it fires most, the largest activation first"),
            Column("tokens", pa.list_(string), "their texts"),
            Column("nearest", int32, "the feature with the largest decoder cosine, itself left out", nullable=True, minimum=0),
            Column("nearest_cosine", float64, "that cosine", nullable=True, minimum=-1, maximum=1),
            Column("versions", string, "versions of the libraries that made it"),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(in_studies("feature_map"),),
    ),
    Table(
        "feature_families",
        "the features of a lower and of a higher layer that are most alike, by three measures side by side",
        (
            COLLECTION,
            SAE,
            FEATURE,
            Column("source_sae", string, "key of the SAE of the lower layer"),
            Column("source_feature", int32, "its feature with the largest decoder cosine", minimum=0),
            Column("decoder_cosine", float64, "cosine of the two decoder rows", minimum=-1, maximum=1),
            Column("transport_cosine", float64, "cosine of the source's decoder row, sent through the operator, to the feature's own; NULL without an operator", nullable=True, minimum=-1, maximum=1),
            Column("activation_r2", float64, "share of the variance of the residual along the feature's decoder row that the source's activation explains", nullable=True, maximum=1),
            share("activation_jaccard", "tokens on which both fire, of those on which either does"),
            Column("n_tokens", int64, "held-out tokens", unit="tokens", minimum=0),
        ),
        ("collection", "sae", "feature_id", "source_sae"),
        ("collection", "sae"),
        rules=(in_studies("feature_families"),),
    ),
    Table(
        "feature_attribution",
        "what a feature contributes to the next-token loss, by gradient and by ablation",
        (
            COLLECTION,
            SAE,
            FEATURE,
            Column("n_active", int64, "held-out tokens on which it fires", unit="tokens", minimum=0),
            Column("gradient_x_activation", float64, "sum over tokens of activation times the derivative of the loss along the decoder row, per active token; the loss that its removal adds, to first order, is minus this", unit="nats", nullable=True),
            Column("ablation_effect", float64, "loss that its removal adds, per active token; NULL: not ablated", unit="nats", nullable=True),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(in_studies("feature_attribution"),),
    ),
)
