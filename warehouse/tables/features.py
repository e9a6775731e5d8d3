"""Tables: SAE features."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    FEATURE,
    LAYER,
    SAE,
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
            SAE,
            LAYER,
            FEATURE,
            Column("n_tokens", int64, "tokens in the sample", unit="tokens", minimum=0),
            Column("n_active", int64, "tokens on which the feature is active", unit="tokens", minimum=0),
            Column("activation_rate", float64, "n_active / n_tokens", minimum=0, maximum=1),
            Column("n_documents_active", int64, "documents with at least one active token", minimum=0),
            Column("mean_activation", float64, "mean activation over active tokens", nullable=True, minimum=0),
            Column("std_activation", float64, "standard deviation over active tokens", nullable=True, minimum=0),
            Column("max_activation", float64, "largest activation on the test split", nullable=True, minimum=0),
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
        "quality score of one SAE feature with its components: interpretability, uniqueness, causal effect",
        (
            COLLECTION,
            SCORING,
            SAE,
            LAYER,
            FEATURE,
            Column("n_tokens", int64, "tokens in the sample", unit="tokens", minimum=0),
            Column("n_active", int64, "tokens on which the feature is active", unit="tokens", minimum=0),
            Column("activation_rate", float64, "n_active / n_tokens", minimum=0, maximum=1),
            Column("n_documents_active", int64, "documents with an active token", minimum=0),
            Column("mean_activation", float64, "mean activation over active tokens", nullable=True, minimum=0),
            Column("max_activation", float64, "largest activation on the train tokens scored, those of the examples", nullable=True, minimum=0),
            Column("n_top", int64, "top-activating positions used for the token entropy", minimum=0),
            Column("token_entropy", float64, "entropy of the token ids at the top-activating positions", unit="nats", nullable=True, minimum=0),
            Column("focus_z", float64, "largest logit of decoder row times unembedding, in standard deviations above the mean", nullable=True),
            Column("focus_entropy", float64, "entropy of the softmax of these logits", unit="nats", nullable=True, minimum=0),
            Column("redundancy", float64, "largest |correlation| of the activations with those of another feature", nullable=True, minimum=0, maximum=1),
            Column("redundant_with", int32, "feature with that correlation", nullable=True, minimum=0),
            Column("deadness", float64, "inactive share: share of documents in which the feature never fires", minimum=0, maximum=1),
            Column("pre_score", float64, "0.40 coherence + 0.35 focus - 0.15 redundancy - 0.10 deadness, each min-max normalised", nullable=True),
            Column("candidate", boolean, "true if the pre-score is in the top candidate_percent; only candidates are ablated"),
            *score("causal_effect", "mean rise of the next-token loss when the feature is ablated, on validation text (nats)", maximum=None),
            Column("n_ablated", int64, "predicted tokens behind the causal effect", unit="tokens", minimum=0),
            Column("n_ablated_documents", int64, "documents behind the causal effect and its interval", minimum=0),
            Column("score", float64, "0.35 coherence + 0.25 focus + 0.30 causal - 0.07 redundancy - 0.03 deadness, each min-max normalised", nullable=True),
            Column("rank", int32, "rank by score, from 1; NULL without a score", nullable=True, minimum=1),
            Column("selected", boolean, "true for the top_percent of the SAE's features by score"),
            Column("top_tokens", pa.list_(string), "tokens that the decoder row promotes most (logit lens), largest logit first"),
            Column("top_logits", pa.list_(float32), "logits of top_tokens", as_long_as="top_tokens"),
            Column("bottom_tokens", pa.list_(string), "tokens that the decoder row suppresses most"),
            Column("bottom_logits", pa.list_(float32), "logits of bottom_tokens", as_long_as="bottom_tokens"),
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
                "ranks follow the scores, and selected features have a rank",
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
            SAE,
            LAYER,
            FEATURE,
            Column("kind", string, "top, quantile or random"),
            Column("rank", int32, "number of the example within its kind, from 1", minimum=1),
            Column("quantile", float64, "upper end of the activation quantile bin; NULL for other kinds", nullable=True, minimum=0, maximum=1),
            Column("sequence_id", int64, "sequence of the window", minimum=0),
            Column("position", int32, "position of the peak token", unit="tokens", minimum=0),
            Column("activation", float64, "activation at the peak token", minimum=0),
            Column("start", int32, "position of the window's first token", unit="tokens", minimum=0),
            Column("tokens", pa.list_(string), "tokens of the window"),
            Column("activations", pa.list_(float32), "activation at each of the tokens; 0 where the feature is inactive or the token is excluded", as_long_as="tokens"),
        ),
        ("collection", "scoring", "feature_id", "kind", "rank"),
        ("collection", "sae"),
        rules=(
            Rule(
                "has one activation per token, with the peak at its position",
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
        "one natural-language explanation of a feature, and whether it matches this feature",
        (
            COLLECTION,
            SAE,
            LAYER,
            FEATURE,
            Column("source", string, "neuronpedia or judge"),
            Column("neuronpedia_id", string, "model/source on Neuronpedia that the explanation was published for", nullable=True),
            Column("explanation_id", string, "identifier at its source"),
            Column("description", string, "text of the explanation"),
            Column("type_name", string, "method that produced it", nullable=True),
            Column("explainer", string, "model that wrote it", nullable=True),
            Column("score", float64, "best published score of the explanation", nullable=True),
            Column("score_type", string, "kind of that score", nullable=True),
            Column("alignment", float64, "share of the published top tokens among our logit lens's top tokens; NULL where none are published", nullable=True, minimum=0, maximum=1),
            Column("aligned", boolean, "alignment reaches the threshold of the settings: the explanation is trusted", nullable=True),
            Column("fetched_at", timestamp, "time of the download", volatile=True),
        ),
        ("collection", "sae", "feature_id", "source", "explanation_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "sae is in saes and has the feature",
                "sae, feature_id",
                """select distinct e.collection, e.sae, e.feature_id from explanations as e
                left join known_saes as s using (collection, sae) where s.d_sae is null or e.feature_id >= s.d_sae""",
            ),
        ),
    ),
)
