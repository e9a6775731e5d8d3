"""Tables: studies of many sparse autoencoders: members, quality, density, probes, agreement."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    FEATURE,
    LAYER,
    METHOD,
    OPERATOR,
    Column,
    Rule,
    Table,
    boolean,
    cosine,
    count,
    float64,
    int32,
    int64,
    interval,
    share,
    string,
)

# fmt: off
STUDY = Column("study", string, "key of the study: its SAEs and how they are judged")
SAE = Column("sae", string, "key of the SAE within studies: its weights and how it is judged")
STEP = count("step", "optimiser step")
DENSITY = (
    Column("bin", int32, "number of the bin, from the rarest; 0: never active", minimum=0),
    Column("log10_rate_low", float64, "lower end of the bin: log10 of the activation rate; NULL for never active", nullable=True, maximum=0),
    Column("log10_rate_high", float64, "upper end of the bin; NULL for never active", nullable=True, maximum=0),
    count("n_features", "features in the bin"),
)
"""A bin of a histogram of activation rates."""


def in_studies(table: str) -> Rule:
    """Every row is of an SAE of a study."""
    return Rule(
        "sae is in studied_saes",
        "sae",
        f"select distinct t.collection, t.sae from {table} as t anti join known_studied_saes using (collection, sae)",
    )


TABLES = (
    Table(
        "studied_saes",
        "an SAE of a study, or a baseline beside them",
        (
            COLLECTION,
            SAE,
            Column("label", string, "its name in tables and charts, such as topk k=32 seed 0"),
            Column("source", string, "trained, baseline, or the path or release it was loaded from"),
            LAYER,
            Column("site", string, "site that it reads; of innovation SAEs also what is taken off, such as resid_post less ridge of layer 8"),
            Column("target_site", string, "site that it writes: of transcoders; NULL of SAEs, which write what they read", nullable=True),
            Column("has_skip", boolean, "true of a transcoder with a linear connection past its features"),
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
        "innovation_saes",
        "an SAE of a study, or a baseline, that reads innovations: what an operator from an earlier layer does not predict",
        (
            COLLECTION,
            SAE,
            Column("source_layer", int32, "layer that the operator reads", minimum=0),
            Column("target_layer", int32, "layer whose residuals are rebuilt", minimum=0),
            METHOD,
            OPERATOR,
            Column("n_parameters", int64, "numbers of the SAE and of its operator, matrix and bias", minimum=1),
        ),
        ("collection", "sae"),
        ("collection",),
        rules=(in_studies("innovation_saes"),),
    ),
    Table(
        "innovation_comparisons",
        "one metric of innovation SAEs beside that of plain SAEs of the same architecture, k and seed at the same layers",
        (
            COLLECTION,
            STUDY,
            Column("sae", string, "key of the innovation SAE; of a chain, that of its last layer"),
            Column("other_sae", string, "key of the plain SAE at the same layer"),
            Column("scope", string, "alone: its layer alone; chain: all layers of the chain replaced at once, the first by one and the same plain SAE; neighbours: decoders of the last two layers of the chain"),
            Column("metric", string, "fvu, ce_recovered, kl; of neighbours layer_cosine: mean over the features of the largest decoder cosine with one of the layer before"),
            Column("layers", pa.list_(int32), "layers that are rebuilt or compared"),
            Column("innovation", float64, "value of the innovation SAEs; NULL where it cannot be measured", nullable=True),
            *interval("innovation", ""),
            Column("plain", float64, "value of the plain SAEs", nullable=True),
            *interval("plain", ""),
            Column("difference", float64, "innovation minus plain", nullable=True),
            *interval("difference", " (paired by document, of features Welch's)"),
            Column("baseline", float64, "value of T x + b without features in place of the innovation SAEs; of layer_cosine that of random directions in place of the layer before", nullable=True),
            count("n", "documents behind the intervals; of layer_cosine living features of the innovation SAE"),
            Column("l0", float64, "active features per token of the innovation side, summed over its layers", minimum=0),
            Column("plain_l0", float64, "the same of the plain side", minimum=0),
            Column("n_parameters", int64, "numbers of the innovation side, operators included", minimum=1),
            Column("plain_n_parameters", int64, "numbers of the plain side", minimum=1),
        ),
        ("collection", "study", "sae", "other_sae", "scope", "metric"),
        ("collection",),
        rules=(in_studies("innovation_comparisons"),),
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
            Column("metric", string, "what is measured, see `python -m ato.sae_studies.metrics_page`"),
            Column("detail", string, "which of several values of this metric it is, such as k = 1; empty where there is one"),
            Column("value", float64, "its value, in the metric's unit; NULL where it cannot be measured", nullable=True),
            Column("low", float64, "lower end of its 95 % interval by document", nullable=True),
            Column("high", float64, "upper end of its 95 % interval by document", nullable=True),
            count("n", "tokens, features or documents that it rests on, see the metric"),
            Column("n_documents", int64, "documents that the interval is over; NULL for what is made of weights alone", nullable=True, minimum=0),
            Column("reason", string, "why it is NULL", nullable=True),
        ),
        ("collection", "sae", "metric", "detail"),
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
        "studied_features",
        "how often a feature of an SAE fires on held-out text",
        (
            COLLECTION,
            SAE,
            FEATURE,
            count("n_active", "held-out tokens on which it fires", "tokens"),
            share("activation_rate", "that share of the held-out tokens"),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(in_studies("studied_features"),),
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
            STEP,
            *DENSITY,
        ),
        ("collection", "sae", "step", "bin"),
        ("collection", "sae"),
        rules=(in_studies("sae_snapshot_density"),),
    ),
    Table(
        "sae_probing",
        "how well a few features of an SAE classify documents by stratum",
        (
            COLLECTION,
            SAE,
            Column("stratum", string, "what divides the documents, such as decade or topic"),
            Column("value", string, "the class, against all others"),
            Column("k", int32, "numbers that the probe reads", minimum=1),
            Column("reader", string, "best: the k features chosen on train documents; random: k random ones; dense: the whole mean residual"),
            share("auroc", "area under the ROC curve on test documents; chance is 0.5"),
            *interval("auroc"),
            count("n_train", "train documents, of the class and others"),
            count("n_test", "test documents of the class"),
            count("n_others", "test documents of other classes"),
            Column("features", pa.list_(int32), "features that the probe reads", nullable=True),
            Column("reason", string, "why auroc is NULL", nullable=True),
        ),
        ("collection", "sae", "stratum", "value", "k", "reader"),
        ("collection", "sae"),
        rules=(in_studies("sae_probing"),),
    ),
    Table(
        "sae_agreement",
        "how far two SAEs of a study that differ only in their seeds have the same features",
        (
            COLLECTION,
            STUDY,
            Column("sae", string, "key of the first SAE"),
            Column("other_sae", string, "key of the second"),
            Column("layer", int32, "layer that both read", minimum=0),
            count("n_matched", "pairs of features matched one to one, features that never fire left out"),
            cosine("mean_cosine", "mean decoder cosine of the pairs"),
            share("share_same", "share of the pairs with a cosine of at least 0.9"),
            cosine("mean_max_cosine", "mean over the first one's features of the largest cosine to any of the second"),
            cosine("null_mean_cosine", "mean cosine of the pairs with a random dictionary in place of the second"),
        ),
        ("collection", "study", "sae", "other_sae"),
        ("collection",),
        rules=(in_studies("sae_agreement"),),
    ),
)
