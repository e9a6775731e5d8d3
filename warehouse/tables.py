"""The declared tables: name, meaning, columns with type, unit and meaning, keys and partitions.

Writers validate against these declarations, the catalog's views and column comments are made from them, and
``ato tables`` prints them, so there is one place to read and one to change.
"""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised whenever a column changes; a warehouse of another version is refused, never guessed at."""

string, int64, int32, float64, boolean = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()
float32 = pa.float32()
timestamp = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, meaning, unit, and the range that every value must lie in."""

    name: str
    type: pa.DataType | None
    """None only for ``activations.residual``, whose width is the model's d_model."""
    meaning: str
    unit: str = ""
    nullable: bool = False
    """True where NULL is a legitimate value ("not measured"); NaN is never legitimate."""
    minimum: float | None = None
    maximum: float | None = None
    volatile: bool = False
    """True for values that differ between two runs with equal settings (clock times)."""


@dataclass(frozen=True)
class Table:
    """One table: columns, the unique key of a row, and the hive partition keys (a prefix of the folders)."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...]

    def column(self, name: str) -> Column:
        """The declaration of one column; KeyError for an unknown name."""
        return {c.name: c for c in self.columns}[name]


def _score(name: str, meaning: str, *, maximum: float | None = 1.0) -> tuple[Column, ...]:
    """A score with its 95 % interval from resampling documents."""
    return (
        Column(name, float64, meaning, nullable=True, maximum=maximum),
        Column(f"{name}_low", float64, f"lower end of the 95 % document-bootstrap interval of {name}", nullable=True),
        Column(f"{name}_high", float64, f"upper end of the 95 % document-bootstrap interval of {name}", nullable=True),
    )


_collection = Column("collection", string, "key of the collection: readable slug and hash of all that made it")
_layer = Column("layer", int32, "residual stream after this block (0 = first block)", minimum=0)
_pair = (
    Column("source_layer", int32, "layer L that is read", minimum=0),
    Column("leap", int32, "number of blocks between source and target", unit="blocks", minimum=1),
    Column("target_layer", int32, "layer L + leap that is predicted", minimum=1),
)

_evaluation = Column("evaluation", string, "key of the evaluation: pair, SAE and the settings of scoring")

# fmt: off
TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "collections",
            "one collection of residuals: which model read which text, with what dropped and why",
            (
                _collection,
                Column("model", string, "model as it was named: hub id, folder or GGUF file name"),
                Column("revision", string, "revision of the model on its hub", nullable=True),
                Column("weights_hash", string, "SHA-256 of the weight files, first 16 hex digits"),
                Column("corpus", string, "corpus as it was named"),
                Column("corpus_hash", string, "SHA-256 over the sorted document hashes, first 16 hex digits"),
                Column("n_documents", int64, "documents that gave at least one sequence", minimum=1),
                Column("n_sequences", int64, "sequences run through the model", minimum=1),
                Column("n_tokens", int64, "tokens run through the model", unit="tokens", minimum=1),
                Column("n_kept", int64, "tokens whose residuals entered statistics", unit="tokens", minimum=0),
                Column("dropped_by_reason", pa.map_(string, int64), "tokens run but left out, counted by reason"),
                Column("skipped_documents", pa.map_(string, int64), "documents left out, counted by reason"),
                Column("seq_len", int32, "longest allowed sequence", unit="tokens", minimum=1),
                Column("dtype", string, "precision of the forward pass"),
                Column("d_model", int32, "width of the residual stream", minimum=1),
                Column("n_layers", int32, "blocks in the model", minimum=1),
                Column("layers", pa.list_(int32), "layers whose residuals were read"),
                Column("median_norm", pa.list_(float64), "median residual norm per layer on the pilot shard, ordered as layers"),
                Column("split_seed", int64, "salt of the document hash that assigns splits"),
                Column("n_folds", int32, "cross-validation folds inside the train split", minimum=2),
                Column("fewer_tokens_than_dimensions", boolean, "true if the train split has fewer kept tokens than d_model"),
                Column("settings", string, "all settings that made this collection (JSON)"),
                Column("created_at", timestamp, "when the collection was completed", volatile=True),
            ),
            ("collection",),
            ("collection",),
        ),
        Table(
            "sequences",
            "one sequence of tokens, never crossing a document's boundary",
            (
                _collection,
                Column("sequence_id", int64, "number of the sequence within its collection", minimum=0),
                Column("document_id", string, "SHA-256 of the document's own bytes, first 16 hex digits"),
                Column("document", int64, "number of the document within its collection", minimum=0),
                Column("split", string, "train, val or test; by document"),
                Column("fold", int32, "cross-validation fold inside train; NULL elsewhere", nullable=True, minimum=0),
                Column("start", int32, "offset of the first token in its document", unit="tokens", minimum=0),
                Column("n_tokens", int32, "length of the sequence", unit="tokens", minimum=1),
                Column("token_ids", pa.list_(int32), "the tokens"),
                Column("text", string, "the decoded tokens"),
            ),
            ("collection", "sequence_id"),
            ("collection",),
        ),
        Table(
            "activations",
            "the residual of one token after one block",
            (
                _collection,
                _layer,
                Column("sequence_id", int64, "sequence of the token", minimum=0),
                Column("position", int32, "position in the sequence, from 0", unit="tokens", minimum=0),
                Column("token_id", int32, "vocabulary id of the token", minimum=0),
                Column("norm", float32, "Euclidean norm of the residual", minimum=0),
                Column("residual", None, "residual stream, FLOAT[d_model]"),
            ),
            ("collection", "layer", "sequence_id", "position"),
            ("collection", "layer"),
        ),
        Table(
            "saes",
            "one sparse autoencoder and how well it reconstructs held-out residuals",
            (
                _collection,
                Column("sae", string, "key of the SAE"),
                _layer,
                Column("source", string, "trained, or the path or release it was loaded from"),
                Column("architecture", string, "topk, jumprelu, standard or gated"),
                Column("d_sae", int32, "number of features", minimum=1),
                Column("n_tokens", int64, "held-out tokens it was judged on", unit="tokens", minimum=0),
                Column("n_documents", int64, "held-out documents it was judged on", minimum=0),
                Column("l0", float64, "mean number of active features per token", minimum=0),
                *_score("fvu", "fraction of variance unexplained: sum |x - x_hat|^2 / sum |x - mean x|^2", maximum=None),
                *_score("ce_recovered", "share of the zero-ablation loss increase that splicing the SAE avoids", maximum=None),
                Column("ce_clean", float64, "next-token loss of the unedited model", unit="nats", nullable=True),
                Column("ce_spliced", float64, "next-token loss with the reconstruction spliced in", unit="nats", nullable=True),
                Column("ce_zero", float64, "next-token loss with the residual zeroed", unit="nats", nullable=True),
                Column("dead_share", float64, "share of features that fired on no judged token", minimum=0, maximum=1),
                Column("trusted", boolean, "false if any quality limit of the settings is missed"),
                Column("distrust_reason", string, "which limits are missed; NULL when trusted", nullable=True),
                Column("path", string, "folder of the weights, relative to the warehouse"),
                Column("weights_hash", string, "SHA-256 of the weights, first 16 hex digits"),
                Column("neuronpedia_id", string, "model/source id on Neuronpedia", nullable=True),
            ),
            ("collection", "sae"),
            ("collection",),
        ),
        Table(
            "sae_training",
            "one logged step of an SAE's training",
            (
                _collection,
                Column("sae", string, "key of the SAE"),
                Column("architecture", string, "topk or jumprelu"),
                Column("step", int64, "optimiser step", minimum=0),
                Column("tokens", int64, "tokens seen so far, repeats included", unit="tokens", minimum=0),
                Column("mse", float64, "mean over tokens of |x - x_hat|^2, in normalised units", minimum=0),
                Column("fvu", float64, "fraction of variance unexplained on the batch", minimum=0),
                Column("l0", float64, "mean number of active features per token", minimum=0),
                Column("dead_share", float64, "share of features that have not fired recently", minimum=0, maximum=1),
                Column("lr", float64, "learning rate", minimum=0),
            ),
            ("collection", "sae", "step"),
            ("collection", "sae"),
        ),
        Table(
            "feature_stats",
            "activation statistics of one SAE feature over the collection's test split",
            (
                _collection,
                Column("sae", string, "key of the SAE"),
                _layer,
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
        ),
        Table(
            "operators",
            "one fitted transport operator (or baseline) and its scores on held-out tokens",
            (
                _collection,
                Column("operator", string, "key of the operator"),
                *_pair,
                Column("position_policy", string, "which source position predicts a target position"),
                Column("method", string, "ridge, linear, ridge_to_identity, rrr, svd, identity or mean"),
                Column("output_weight", string, "metric of reduced-rank regression", nullable=True),
                Column("alpha", float64, "ridge strength on the sum of squares", nullable=True, minimum=0),
                Column("alpha_at_edge", boolean, "true if the chosen strength is the first or last of its grid"),
                Column("rank", int32, "rank of the map; NULL for the identity", nullable=True, minimum=0),
                Column("kept_rank", int32, "source directions above the relative cut", nullable=True, minimum=0),
                Column("n_train", int64, "train tokens", unit="tokens", minimum=0),
                Column("n_test", int64, "test tokens", unit="tokens", minimum=0),
                Column("n_test_documents", int64, "test documents", minimum=0),
                Column("few_tokens", boolean, "true if n_train < 10 d_model: in-sample numbers are then optimistic"),
                Column("r2_train", float64, "R2 on train, uniform mean over dimensions", nullable=True, maximum=1),
                Column("r2_cv", float64, "mean held-out R2 over folds at the chosen strength", nullable=True, maximum=1),
                Column("r2_val", float64, "R2 on val, uniform mean over dimensions", nullable=True, maximum=1),
                *_score("r2_test", "R2 on test, uniform mean over dimensions"),
                *_score("r2_weighted", "1 - sum SSE / sum SST on test"),
                *_score("r2_whitened", "R2 on test in the metric of the train covariance of the target"),
                *_score("r2_update", "uniform mean R2 on test for predicting y - x"),
                *_score("skill", "1 - SSE / SSE of the identity, on test"),
                Column("mse", float64, "mean squared error per dimension on test", nullable=True, minimum=0),
                Column("cosine", float64, "mean cosine of y and y_hat on test", nullable=True, minimum=-1, maximum=1),
                Column("path", string, "safetensors file, relative to the warehouse"),
                Column("registry_uri", string, "models:/ address in the registry; NULL for baselines", nullable=True),
            ),
            ("collection", "operator"),
            ("collection",),
        ),
        Table(
            "operator_cv",
            "held-out R2 of one strength on one fold",
            (
                _collection,
                Column("operator", string, "key of the operator"),
                *_pair,
                Column("method", string, "method that was cross-validated"),
                Column("alpha", float64, "strength", minimum=0),
                Column("l1_ratio", float64, "share of the L1 penalty; NULL for ridge", nullable=True),
                Column("fold", int32, "fold held out", minimum=0),
                Column("r2", float64, "R2 on the fold, uniform mean over dimensions", nullable=True, maximum=1),
            ),
            ("collection", "operator", "alpha", "fold"),
            ("collection",),
        ),
        Table(
            "feature_transport",
            "how well one operator predicts one target feature where the SAE says it is active",
            (
                _collection,
                _evaluation,
                Column("operator", string, "key of the operator"),
                Column("sae", string, "key of the SAE at the target layer"),
                *_pair,
                Column("method", string, "method of the operator"),
                Column("feature_id", int32, "index of the feature in the SAE", minimum=0),
                Column("sae_trusted", boolean, "false if the SAE misses a quality limit: read the score with care"),
                Column("n_active", int64, "test tokens on which the SAE activates the feature", unit="tokens", minimum=0),
                Column("n_documents", int64, "test documents with an active token", minimum=0),
                Column("activation_rate", float64, "n_active / test tokens", minimum=0, maximum=1),
                *_score("r2", "R2 of the decoder-row projection over active test tokens"),
                Column("r2_all_tokens", float64, "the same over all test tokens", nullable=True, maximum=1),
                Column(
                    "ceiling",
                    float64,
                    "squared correlation of the best linear prediction, directions from train, on all test tokens",
                    nullable=True,
                    minimum=0,
                    maximum=1,
                ),
                Column("skill", float64, "1 - SSE / SSE of the identity, over active test tokens", nullable=True, maximum=1),
                Column("pearson", float64, "correlation of a and a_hat", nullable=True, minimum=-1, maximum=1),
                Column("mse", float64, "mean squared error of the projection", nullable=True, minimum=0),
                Column("calibration", float64, "cosine: sum a a_hat / sqrt(sum a^2 sum a_hat^2)", nullable=True, minimum=-1, maximum=1),
                Column("rms_ratio", float64, "rms a_hat / rms a", nullable=True, minimum=0),
                Column("mean_abs_ratio", float64, "mean |a_hat| / mean |a|", nullable=True, minimum=0),
                Column("mean_ratio", float64, "mean a_hat / mean a", nullable=True),
                Column("mad_ratio", float64, "mean |a_hat - mean a_hat| / mean |a - mean a|", nullable=True, minimum=0),
                Column("mean_relative_error", float64, "mean |a_hat - a| / |a|", nullable=True, minimum=0),
                Column("mean_squared_log_ratio", float64, "mean of log(|a_hat| / |a|) squared", nullable=True, minimum=0),
                Column("verdict", string, "transported, synthesised or undetermined, from the interval of r2"),
            ),
            ("collection", "evaluation", "operator", "sae", "feature_id"),
            ("collection", "sae"),
        ),
        Table(
            "efficiency",
            "one rank of one pair: what the best map of that rank reaches against its ceiling",
            (
                _collection,
                _evaluation,
                *_pair,
                Column("rank", int32, "rank r", minimum=1),
                Column("d_kept", int32, "target directions above the relative cut: the d in (1/d) sum rho^2", minimum=1),
                Column("n_train", int64, "train tokens", unit="tokens", minimum=0),
                Column("n_test", int64, "test tokens", unit="tokens", minimum=0),
                Column("n_over_d", float64, "n_train / d_model", minimum=0),
                Column("few_tokens", boolean, "true if n_train < 10 d_model"),
                Column(
                    "ceiling_in_sample", float64, "(1/d) sum of the first r squared canonical correlations on train", minimum=0, maximum=1
                ),
                *_score("ceiling_held_out", "the same, directions from train, correlations re-measured on test"),
                Column("bracket_wide", boolean, "true if in-sample and held-out ceilings differ by more than 0.05"),
                *_score("r2_rrr", "whitened R2 on test of the reduced-rank operator in the whitened metric"),
                *_score("efficiency", "r2_rrr / ceiling_held_out", maximum=None),
                Column("r2_svd_paper", float64, "whitened R2 on test of the SVD-truncated ridge operator", nullable=True, maximum=1),
                Column("ceiling_paper", float64, "ceiling on the training sample", nullable=True, minimum=0, maximum=1),
                Column("efficiency_paper", float64, "r2_svd_paper / ceiling_paper", nullable=True),
            ),
            ("collection", "evaluation", "source_layer", "target_layer", "rank"),
            ("collection",),
        ),
        Table(
            "canonical_correlations",
            "one canonical mode of one pair",
            (
                _collection,
                _evaluation,
                *_pair,
                Column("mode", int32, "number of the mode, from 1, by descending train correlation", minimum=1),
                Column("rho_in_sample", float64, "canonical correlation on train", minimum=0, maximum=1),
                Column("rho_held_out", float64, "correlation of the same two directions on test", nullable=True, minimum=-1, maximum=1),
            ),
            ("collection", "evaluation", "source_layer", "target_layer", "mode"),
            ("collection",),
        ),
        Table(
            "subspaces",
            "one pair's linear transport subspace by each named definition",
            (
                _collection,
                _evaluation,
                *_pair,
                Column("d_kept", int32, "target directions above the relative cut", minimum=1),
                Column("n_train", int64, "train tokens", unit="tokens", minimum=0),
                Column("few_tokens", boolean, "true if n_train < 10 d_model"),
                Column("lts_dim_participation", float64, "(sum rho)^2 / sum rho^2 on train: the study's definition", minimum=0),
                Column(
                    "lts_dim_participation_held_out", float64, "the same with correlations re-measured on test", nullable=True, minimum=0
                ),
                Column("lts_rank_90", int32, "smallest rank with 90 % of the held-out full-rank ceiling", nullable=True, minimum=1),
                Column("lts_rank_95", int32, "smallest rank with 95 % of the held-out full-rank ceiling", nullable=True, minimum=1),
                Column("lts_rank_99", int32, "smallest rank with 99 % of the held-out full-rank ceiling", nullable=True, minimum=1),
                Column("lts_rank_90_paper", int32, "smallest rank with 90 % of the in-sample full-rank ceiling", minimum=1),
                Column("lts_rank_95_paper", int32, "smallest rank with 95 % of the in-sample full-rank ceiling", minimum=1),
                Column("lts_rank_99_paper", int32, "smallest rank with 99 % of the in-sample full-rank ceiling", minimum=1),
            ),
            ("collection", "evaluation", "source_layer", "target_layer"),
            ("collection",),
        ),
        Table(
            "quality_results",
            "one expectation checked on what a stage had just written",
            (
                _collection,
                Column("stage", string, "stage that wrote the rows"),
                Column("key", string, "key of the stage run"),
                Column("table_name", string, "table checked"),
                Column("expectation", string, "what must hold"),
                Column("column_name", string, "column or columns concerned", nullable=True),
                Column("success", boolean, "whether it holds"),
                Column("n_checked", int64, "rows looked at", minimum=0),
                Column("n_unexpected", int64, "rows that break it", minimum=0),
                Column("examples", string, "keys of up to five offending rows (JSON)", nullable=True),
            ),
            ("stage", "key", "table_name", "expectation", "column_name"),
            ("collection",),
        ),
        Table(
            "stage_runs",
            "one completed stage with what it read, wrote and took: the manifest",
            (
                Column("stage", string, "name of the stage"),
                Column("key", string, "key of the stage: slug and hash of settings and inputs"),
                Column("collection", string, "collection it belongs to"),
                Column("inputs", pa.list_(string), "keys it was made from"),
                Column("settings", string, "its own settings (JSON)"),
                Column(
                    "files",
                    pa.list_(pa.struct([("path", string), ("table_name", string), ("rows", int64), ("bytes", int64), ("sha256", string)])),
                    "every file it wrote, relative to the warehouse",
                ),
                Column("rows", int64, "rows written", minimum=0),
                Column("bytes", int64, "bytes written", unit="bytes", minimum=0),
                Column("tokens_run", int64, "tokens run through the model", unit="tokens", minimum=0, volatile=True),
                Column("quality", string, "passed or failed; failed rows stay out of every view"),
                Column("flow_run_id", string, "Prefect flow run", nullable=True, volatile=True),
                Column("started_at", timestamp, "start", volatile=True),
                Column("seconds", float64, "wall time", unit="s", minimum=0, volatile=True),
            ),
            ("stage", "key"),
            ("stage",),
        ),
    )
}
