"""Tables: sparse autoencoders and their training."""

from ato.models.sites import SITES
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
    score,
    string,
)

# fmt: off
TABLES = (
    Table(
        "saes",
        "one sparse autoencoder and its reconstruction quality on held-out residuals",
        (
            COLLECTION,
            Column("sae", string, "key of the SAE"),
            LAYER,
            Column("site", string, f"site that it reads: {', '.join(SITES)}"),
            Column("source", string, "trained, or the path or release it was loaded from"),
            Column("architecture", string, "how features become active, such as topk or jumprelu"),
            Column("d_sae", int32, "number of features", minimum=1),
            Column("n_tokens", int64, "held-out tokens of the evaluation", unit="tokens", minimum=0),
            Column("n_documents", int64, "held-out documents of the evaluation", minimum=0),
            Column("l0", float64, "mean number of active features per token", minimum=0),
            Column(
                "l0_declared",
                float64,
                "mean number of active features per token that its origin states, such as k; NULL if unknown",
                minimum=0,
                nullable=True,
            ),
            *score("fvu", "fraction of variance unexplained: sum |x - x_hat|^2 / sum |x - mean x|^2", maximum=None),
            *score("ce_recovered", "share of the loss increase from zero ablation that splicing in the SAE avoids", maximum=None),
            Column("ce_clean", float64, "next-token loss of the unedited model", unit="nats", nullable=True),
            Column("ce_spliced", float64, "next-token loss with the reconstruction spliced in", unit="nats", nullable=True),
            Column("ce_zero", float64, "next-token loss with the residual zeroed", unit="nats", nullable=True),
            Column("dead_share", float64, "share of features that fired on no evaluated token", minimum=0, maximum=1),
            Column("trusted", boolean, "false if the SAE fails a quality threshold of the settings"),
            Column("distrust_reason", string, "failed thresholds; NULL if trusted", nullable=True),
            Column("warning", string, "what looks wrong though no threshold fails; NULL if nothing does", nullable=True),
            Column("path", string, "folder of the weights, relative to the warehouse"),
            Column("weights_hash", string, "SHA-256 of the weights, first 16 hex digits"),
            Column("neuronpedia_id", string, "model/source id on Neuronpedia", nullable=True),
        ),
        ("collection", "sae"),
        ("collection",),
        rules=(
            Rule(
                "is trusted or has a distrust_reason",
                "trusted, distrust_reason",
                "select collection, sae, trusted from saes where trusted <> (distrust_reason is null)",
            ),
        ),
    ),
    Table(
        "sae_training",
        "one logged step of an SAE's training",
        (
            COLLECTION,
            Column("sae", string, "key of the SAE"),
            Column("architecture", string, "how features become active, such as topk or jumprelu"),
            Column("step", int64, "optimiser step", minimum=0),
            Column("tokens", int64, "tokens seen so far, repeats included", unit="tokens", minimum=0),
            Column("mse", float64, "mean over tokens of |x - x_hat|^2, in normalised units", minimum=0),
            Column("fvu", float64, "fraction of variance unexplained on the batch", minimum=0),
            Column("l0", float64, "mean number of active features per token", minimum=0),
            Column("dead_share", float64, "share of features that have not fired recently", minimum=0, maximum=1),
            Column("lr", float64, "learning rate", minimum=0),
            Column("n_resampled", int64, "dead features that have been started anew so far", minimum=0),
            Column("fvu_held_out", float64, "fraction of variance unexplained on the val split; NULL where it was not measured", nullable=True, minimum=0),
        ),
        ("collection", "sae", "step"),
        ("collection", "sae"),
    ),
)
