"""Tables: interventions on the running model."""

from warehouse.tables.declarations import (
    COLLECTION,
    EVALUATION,
    METHOD,
    OPERATOR,
    PAIR,
    Column,
    Rule,
    Table,
    float64,
    int32,
    int64,
    score,
    string,
)

# fmt: off
TABLES = (
    Table(
        "causal_perplexity",
        "next-token loss on one held-out sequence under one intervention at the target layer",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            METHOD,
            OPERATOR,
            Column("intervention", string, "none, transport, bias, mean, zero, identity, random_rotation, feature_transport or feature_zero"),
            Column("positions", string, "edited positions: a list, all, or active (where the feature is active); empty for none"),
            Column("feature_id", int32, "the single SAE feature that is edited; NULL for whole residuals", nullable=True, minimum=0),
            Column("sequence_id", int64, "sequence id", minimum=0),
            Column("document", int64, "document of the sequence", minimum=0),
            Column("n_edited", int32, "number of positions replaced", minimum=0),
            Column("log_ppl", float64, "mean next-token loss over the whole sequence", unit="nats"),
            Column("log_ppl_edited_onwards", float64, "mean next-token loss from the first edited position on; NULL if no position was edited", unit="nats", nullable=True),
            Column("kl", float64, "mean KL divergence from the unedited model's next-token distribution, from the first edited position on", unit="nats", nullable=True, minimum=0),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "method", "intervention", "positions", "feature_id", "sequence_id"),
        ("collection",),
        rules=(
            Rule(
                "operator is in operators",
                "operator",
                """select distinct c.collection, c.operator
                from causal_perplexity as c anti join known_operators using (collection, operator)""",
            ),
            Rule(
                "every intervention has its unedited counterpart on the same sequence",
                "intervention, sequence_id",
                """select c.collection, c.evaluation, c.source_layer, c.target_layer, c.intervention, c.sequence_id
                from causal_perplexity as c
                anti join (from causal_perplexity where intervention = 'none')
                    using (collection, evaluation, source_layer, target_layer, sequence_id)""",
            ),
        ),
    ),
    Table(
        "causal_effects",
        "effect of one intervention: means over sequences, paired with the unedited model on the same sequences",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            METHOD,
            Column("intervention", string, "as in causal_perplexity"),
            Column("positions", string, "as in causal_perplexity"),
            Column("feature_id", int32, "the single SAE feature that is edited; NULL for whole residuals", nullable=True, minimum=0),
            Column("n_sequences", int64, "number of sequences", minimum=0),
            Column("n_documents", int64, "number of documents", minimum=0),
            *score("log_ppl", "mean next-token loss (nats)", maximum=None),
            *score("delta_log_ppl", "log_ppl minus log_ppl of the unedited model, paired (nats)", maximum=None),
            *score("delta_edited_onwards", "the same from the first edited position on (nats)", maximum=None),
            *score("kl", "mean KL divergence from the unedited model, from the first edited position on (nats)", maximum=None),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "method", "intervention", "positions", "feature_id"),
        ("collection",),
    ),
    Table(
        "causal_differences",
        "transport against one rival at the same positions of the same sequences: means of paired differences",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            METHOD,
            Column("rival", string, "identity, mean, bias, random_rotation or zero; feature_zero for a single feature"),
            Column("position_set", string, "edited positions as in causal_perplexity, or study: the average over the study's three sets"),
            Column("feature_id", int32, "the single SAE feature that is edited; NULL for whole residuals", nullable=True, minimum=0),
            Column("n_sequences", int64, "sequences that both interventions changed", minimum=0),
            Column("n_documents", int64, "documents of these sequences", minimum=0),
            *score("difference", "log_ppl of transport minus that of the rival (nats); below 0: transport costs less", maximum=None),
            *score("difference_edited_onwards", "the same from the first edited position on (nats)", maximum=None),
            *score("difference_kl", "KL divergence from the unedited model, of transport minus that of the rival (nats)", maximum=None),
            Column("p", float64, "two-sided p of difference, by flipping the signs of whole documents; NULL with one document", nullable=True, minimum=0, maximum=1),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "method", "rival", "position_set", "feature_id"),
        ("collection",),
    ),
)
