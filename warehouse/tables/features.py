"""Tables: what is known of single SAE features."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    SCORING,
    Column,
    Rule,
    Table,
    boolean,
    float32,
    float64,
    int32,
    int64,
    score,
    string,
    timestamp,
)

# fmt: off
TABLES = (
    Table(
        "feature_stats",
        "activation statistics of one SAE feature over the collection's test split",
        (
            COLLECTION,
            Column("sae", string, "key of the SAE"),
            LAYER,
            Column("feature_id", int32, "index of the feature in the SAE", minimum=0),
            Column("n_tokens", int64, "tokens looked at", unit="tokens", minimum=0),
            Column("n_active", int64, "tokens on which the feature is active", unit="tokens", minimum=0),
            Column("activation_rate", float64, "n_active / n_tokens", minimum=0, maximum=1),
            Column("n_documents_active", int64, "documents with at least one active token", minimum=0),
            Column("mean_activation", float64, "mean activation over active tokens", nullable=True, minimum=0),
            Column("std_activation", float64, "standard deviation over active tokens", nullable=True, minimum=0),
            Column("max_activation", float64, "largest activation", nullable=True, minimum=0),
            Column("max_sequence_id", int64, "sequence of the largest activation", nullable=True),
            Column("max_position", int32, "position of the largest activation", nullable=True),
            Column("decoder_norm", float64, "norm of the decoder row", minimum=0),
        ),
        ("collection", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "activation_rate is n_active / n_tokens",
                "n_active, n_tokens, activation_rate",
                """select collection, sae, feature_id, n_active, n_tokens, activation_rate from feature_stats
                where n_active > n_tokens or abs(activation_rate * n_tokens - n_active) > 1e-6 * n_tokens""",
            ),
            Rule(
                "sae is in saes",
                "sae",
                "select distinct f.collection, f.sae from feature_stats as f anti join known_saes using (collection, sae)",
            ),
        ),
    ),
    Table(
        "feature_scores",
        "how interpretable, unique and causally important one SAE feature is: all components of its composite score",
        (
            COLLECTION,
            SCORING,
            Column("sae", string, "key of the SAE"),
            LAYER,
            Column("feature_id", int32, "index of the feature in the SAE", minimum=0),
            Column("n_tokens", int64, "tokens looked at", unit="tokens", minimum=0),
            Column("n_active", int64, "tokens on which the feature is active", unit="tokens", minimum=0),
            Column("activation_rate", float64, "n_active / n_tokens", minimum=0, maximum=1),
            Column("n_documents_active", int64, "documents with an active token", minimum=0),
            Column("mean_activation", float64, "mean activation over active tokens", nullable=True, minimum=0),
            Column("max_activation", float64, "largest activation", nullable=True, minimum=0),
            Column("n_top", int64, "top-activating positions that the token entropy is taken over", minimum=0),
            Column("token_entropy", float64, "entropy of the token ids at the top-activating positions", unit="nats", nullable=True, minimum=0),
            Column("focus_z", float64, "largest logit of decoder row times unembedding, in standard deviations above the mean", nullable=True),
            Column("focus_entropy", float64, "entropy of the softmax of these logits", unit="nats", nullable=True, minimum=0),
            Column("redundancy", float64, "largest |correlation| of the activations with those of another feature", nullable=True, minimum=0, maximum=1),
            Column("redundant_with", int32, "the other feature", nullable=True, minimum=0),
            Column("deadness", float64, "share of the looked-at documents in which the feature is never active", minimum=0, maximum=1),
            Column("pre_score", float64, "0.40 coherence + 0.35 focus - 0.15 redundancy - 0.10 deadness, each min-max normalised", nullable=True),
            Column("candidate", boolean, "true if the pre-score is among the best candidate_percent: only these are ablated"),
            *score("causal_effect", "mean rise of the next-token loss when the feature's decoded contribution is subtracted (nats)", maximum=None),
            Column("n_ablated", int64, "predicted tokens that the causal effect is a mean of", unit="tokens", minimum=0),
            Column("n_ablated_documents", int64, "documents behind the causal effect", minimum=0),
            Column("score", float64, "0.35 coherence + 0.25 focus + 0.30 causal - 0.07 redundancy - 0.03 deadness, each min-max normalised", nullable=True),
            Column("rank", int32, "place by score, from 1; NULL without a score", nullable=True, minimum=1),
            Column("selected", boolean, "true for the best top_percent of the SAE's features"),
            Column("top_tokens", pa.list_(string), "tokens that the decoder row promotes most (logit lens), best first"),
            Column("top_logits", pa.list_(float32), "their logits"),
            Column("bottom_tokens", pa.list_(string), "tokens that it suppresses most"),
            Column("bottom_logits", pa.list_(float32), "their logits"),
        ),
        ("collection", "scoring", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "sae is in saes",
                "sae",
                "select distinct f.collection, f.sae from feature_scores as f anti join known_saes using (collection, sae)",
            ),
            Rule(
                "ranks follow the scores, and what is selected has one",
                "rank, score, selected",
                """select collection, scoring, feature_id, rank, score, selected from feature_scores
                qualify (rank is null) <> (score is null) or (selected and score is null)
                    or score > lag(score) over (partition by collection, scoring order by rank nulls last) + 1e-9""",
            ),
        ),
    ),
    Table(
        "feature_examples",
        "one window of text around a token on which a selected feature is active",
        (
            COLLECTION,
            SCORING,
            Column("sae", string, "key of the SAE"),
            LAYER,
            Column("feature_id", int32, "index of the feature in the SAE", minimum=0),
            Column("kind", string, "top, quantile or random"),
            Column("rank", int32, "number of the example within its kind, from 1", minimum=1),
            Column("quantile", float64, "upper end of the activation quantile; NULL for other kinds", nullable=True, minimum=0, maximum=1),
            Column("sequence_id", int64, "sequence of the window", minimum=0),
            Column("position", int32, "position of the token that made the example", unit="tokens", minimum=0),
            Column("activation", float64, "activation at that token", minimum=0),
            Column("start", int32, "position of the window's first token", unit="tokens", minimum=0),
            Column("tokens", pa.list_(string), "the window, token by token"),
            Column("activations", pa.list_(float32), "activation of the feature at each of them; 0 where it is silent or the token was left out"),
        ),
        ("collection", "scoring", "feature_id", "kind", "rank"),
        ("collection", "sae"),
        rules=(
            Rule(
                "has one activation a token, and the strongest where it says",
                "tokens, activations, position, start",
                """select collection, scoring, feature_id, kind, rank from feature_examples
                where len(tokens) <> len(activations) or position < start or position >= start + len(tokens)
                    or abs(activations[position - start + 1] - activation) > 1e-3 * activation + 1e-6""",
            ),
            Rule(
                "feature is in feature_scores and selected",
                "scoring, feature_id",
                """select distinct e.collection, e.scoring, e.feature_id from feature_examples as e
                anti join (from known_feature_scores where selected) using (collection, scoring, feature_id)""",
            ),
        ),
    ),
    Table(
        "explanations",
        "one explanation of a feature in words, and whether it can be about this very feature",
        (
            COLLECTION,
            Column("sae", string, "key of the SAE"),
            LAYER,
            Column("feature_id", int32, "index of the feature in the SAE", minimum=0),
            Column("source", string, "neuronpedia or judge"),
            Column("neuronpedia_id", string, "model/source that the explanation was published for", nullable=True),
            Column("explanation_id", string, "identifier at its source"),
            Column("description", string, "the explanation"),
            Column("type_name", string, "method that made it", nullable=True),
            Column("explainer", string, "model that wrote it", nullable=True),
            Column("score", float64, "best published score of the explanation", nullable=True),
            Column("score_type", string, "kind of that score", nullable=True),
            Column("alignment", float64, "share of the published top tokens among our logit lens's top tokens; NULL where none are published", nullable=True, minimum=0, maximum=1),
            Column("aligned", boolean, "alignment reaches the limit of the settings: the label is about the same feature", nullable=True),
            Column("fetched_at", timestamp, "when it was fetched", volatile=True),
        ),
        ("collection", "sae", "feature_id", "source", "explanation_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "sae is in saes, and the feature one of its own",
                "sae, feature_id",
                """select distinct e.collection, e.sae, e.feature_id from explanations as e
                left join known_saes as s using (collection, sae) where s.d_sae is null or e.feature_id >= s.d_sae""",
            ),
        ),
    ),
)
