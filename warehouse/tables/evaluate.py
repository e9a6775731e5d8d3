"""Tables: evaluation of operators on residuals and features."""

from warehouse.tables.declarations import (
    COLLECTION,
    EVALUATION,
    FEATURE,
    METHOD,
    OPERATOR,
    PAIR,
    POLICY,
    Column,
    Rule,
    Table,
    boolean,
    count,
    float64,
    int32,
    score,
    share,
    string,
)

# fmt: off
Q_VALUES = (
    share("q_transported", "share expected to be wrong of a list of transported features of the SAE and operator that reaches down to this one"),
    share("q_computed", "the same of computed features"),
)
FEATURES = Column("features", string, "all: every scored feature; selected: those that the features stage selected")
AVERAGED = (
    count("n_features", "features averaged over"),
    count("n_documents", "test documents (above 256: groups of them) that were left out one at a time"),
)
TABLES = (
    Table(
        "feature_transport",
        "transport of one feature by one operator, on test tokens where the SAE has it active",
        (
            COLLECTION,
            EVALUATION,
            OPERATOR,
            Column("sae", string, "key of the SAE at the target layer"),
            *PAIR,
            POLICY,
            METHOD,
            FEATURE,
            Column("sae_trusted", boolean, "false if the SAE fails a quality threshold: interpret with care"),
            count("n_active", "test tokens on which the feature is active", "tokens"),
            count("n_documents", "test documents with an active token"),
            Column("activation_rate", float64, "n_active / test tokens", minimum=0, maximum=1),
            *score("r2", "R2 of the decoder-row projection over active test tokens"),
            *score("ceiling", "R2 over active test tokens of the best linear combination of the pair's predictions and x itself, fitted on the active tokens of other test documents: to be compared with r2"),
            Column("r2_all_tokens", float64, "R2 of the decoder-row projection over all test tokens", nullable=True, maximum=1),
            share("ceiling_all_tokens", "squared correlation of the best linear prediction, fitted on train, on all test tokens: to be compared with r2_all_tokens"),
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
            Column("verdict", string, "transported, computed or undetermined, from the 95 % interval of r2"),
            *Q_VALUES,
        ),
        ("collection", "evaluation", "operator", "sae", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "operator is in operators, for the same pair and method",
                "operator, source_layer, target_layer, method",
                """select distinct f.collection, f.operator, f.source_layer, f.target_layer, f.method
                from feature_transport as f
                anti join known_operators using (collection, operator, source_layer, target_layer, method)""",
            ),
            Rule(
                "sae is in saes, at the target layer",
                "sae, target_layer",
                """select distinct f.collection, f.sae, f.target_layer
                from feature_transport as f
                anti join known_saes as s
                    on f.collection = s.collection and f.sae = s.sae and f.target_layer = s.layer""",
            ),
            Rule(
                "verdict is undetermined without a score",
                "r2, verdict",
                """select collection, evaluation, operator, sae, feature_id, verdict
                from feature_transport where r2 is null and verdict <> 'undetermined'""",
            ),
        ),
    ),
    Table(
        "feature_transport_averages",
        "average over the features of one SAE under one operator, each document left out of all features at once",
        (
            COLLECTION,
            EVALUATION,
            OPERATOR,
            Column("sae", string, "key of the SAE at the target layer"),
            *PAIR,
            POLICY,
            METHOD,
            FEATURES,
            Column("statistic", string, "mean_r2, share_transported, share_computed or share_undetermined"),
            *score("value", "the average"),
            *AVERAGED,
        ),
        ("collection", "evaluation", "operator", "sae", "features", "statistic"),
        ("collection", "sae"),
    ),
    Table(
        "feature_transport_differences",
        "mean r2 of features under one operator less that under another of the same pair, on the same documents; against the identity first",
        (
            COLLECTION,
            EVALUATION,
            OPERATOR,
            Column("against", string, "key of the operator that it is compared with"),
            Column("sae", string, "key of the SAE at the target layer"),
            *PAIR,
            POLICY,
            METHOD,
            Column("against_method", string, "method of the operator that it is compared with"),
            FEATURES,
            *score("difference", "mean r2 less that of the other operator", maximum=None),
            *AVERAGED,
        ),
        ("collection", "evaluation", "operator", "against", "sae", "features"),
        ("collection", "sae"),
    ),
    Table(
        "efficiency",
        "transport efficiency of one layer pair at one rank",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            POLICY,
            Column("rank", int32, "rank r", minimum=1),
            Column("d_kept", int32, "target directions above the relative cutoff: the d in (1/d) sum rho^2", minimum=1),
            count("n_train", "train tokens", "tokens"),
            count("n_test", "test tokens", "tokens"),
            Column("n_over_d", float64, "n_train / d_model", minimum=0),
            Column("few_tokens", boolean, "true if n_train < 10 d_model"),
            Column(
                "ceiling_in_sample", float64, "(1/d) sum of the first r squared canonical correlations on train", minimum=0, maximum=1
            ),
            *score("ceiling_held_out", "ceiling_in_sample with directions from train and correlations re-measured on test"),
            share("ceiling_null", "permutation null: in-sample ceiling with the documents of y shuffled against x, positions kept"),
            Column("bracket_wide", boolean, "true if in-sample and held-out ceilings differ by more than 0.05"),
            *score("r2_rrr", "whitened R2 on test of the reduced-rank operator in the whitened metric"),
            *score("efficiency", "r2_rrr / ceiling_held_out", maximum=None),
            Column("r2_svd_paper", float64, "as published: whitened R2 on test of the ridge operator after truncated SVD, by the uncentred second moment of train and about the train mean", nullable=True, maximum=1),
            share("ceiling_paper", "as published: ceiling on the training sample, divided by d_model"),
            Column("efficiency_paper", float64, "r2_svd_paper / ceiling_paper", nullable=True),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "rank"),
        ("collection",),
        rules=(
            Rule(
                "in-sample ceiling does not fall with the rank",
                "ceiling_in_sample, rank",
                """select collection, evaluation, source_layer, target_layer, rank, ceiling_in_sample from efficiency
                qualify ceiling_in_sample < lag(ceiling_in_sample) over (
                    partition by collection, evaluation, source_layer, target_layer order by rank
                ) - 1e-9""",
            ),
            Rule(
                "rank is at most d_kept",
                "rank, d_kept",
                "select collection, evaluation, source_layer, target_layer, rank, d_kept from efficiency where rank > d_kept",
            ),
        ),
    ),
    Table(
        "canonical_correlations",
        "one canonical mode of one layer pair",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            POLICY,
            Column("mode", int32, "number of the mode, from 1, by descending train correlation", minimum=1),
            Column("rho_in_sample", float64, "canonical correlation on train", minimum=0, maximum=1),
            Column("rho_held_out", float64, "correlation of the same two directions on test", nullable=True, minimum=-1, maximum=1),
            share("rho_null", "permutation null: canonical correlation of this mode with the documents of y shuffled against x"),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "mode"),
        ("collection",),
        rules=(
            Rule(
                "does not rise with the mode",
                "rho_in_sample, mode",
                """select collection, evaluation, source_layer, target_layer, mode, rho_in_sample from canonical_correlations
                qualify rho_in_sample > lag(rho_in_sample) over (
                    partition by collection, evaluation, source_layer, target_layer order by mode
                ) + 1e-9""",
            ),
        ),
    ),
    Table(
        "subspaces",
        "dimension of the linear transport subspace of one layer pair, by several definitions",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            POLICY,
            Column("d_kept", int32, "target directions above the relative cutoff", minimum=1),
            count("n_train", "train tokens", "tokens"),
            Column("few_tokens", boolean, "true if n_train < 10 d_model"),
            Column("lts_dim_participation", float64, "participation ratio (sum rho)^2 / sum rho^2 on train: the study's definition", minimum=0),
            Column(
                "lts_dim_participation_held_out", float64, "lts_dim_participation with correlations re-measured on test", nullable=True, minimum=0
            ),
            Column("lts_rank_90", int32, "smallest rank with 90 % of the held-out full-rank ceiling", nullable=True, minimum=1),
            Column("lts_rank_95", int32, "smallest rank with 95 % of the held-out full-rank ceiling", nullable=True, minimum=1),
            Column("lts_rank_99", int32, "smallest rank with 99 % of the held-out full-rank ceiling", nullable=True, minimum=1),
            Column("lts_rank_null", int32, "number of train correlations above the largest one of the permutation null", nullable=True, minimum=0),
            Column("lts_rank_saturation", int32, "smallest rank whose r2_rrr is 95 % of the largest over all ranks", nullable=True, minimum=1),
            Column("lts_dim_participation_squared", float64, "(sum rho^2)^2 / sum rho^4 on train", minimum=0),
            Column("lts_dim_entropy", float64, "exp of the entropy of rho^2 / sum rho^2 on train", minimum=0),
            Column("lts_rank_90_paper", int32, "smallest rank with 90 % of the in-sample full-rank ceiling", minimum=1),
            Column("lts_rank_95_paper", int32, "smallest rank with 95 % of the in-sample full-rank ceiling", minimum=1),
            Column("lts_rank_99_paper", int32, "smallest rank with 99 % of the in-sample full-rank ceiling", minimum=1),
        ),
        ("collection", "evaluation", "source_layer", "target_layer"),
        ("collection",),
        rules=(
            Rule(
                "ranks for 90, 95 and 99 % are in order",
                "lts_rank_90, lts_rank_95, lts_rank_99, d_kept",
                """select collection, evaluation, source_layer, target_layer, lts_rank_90, lts_rank_95, lts_rank_99, d_kept
                from subspaces where lts_rank_90 > lts_rank_95 or lts_rank_95 > lts_rank_99 or lts_rank_99 > d_kept
                    or lts_rank_90_paper > lts_rank_95_paper or lts_rank_95_paper > lts_rank_99_paper""",
            ),
        ),
    ),
    Table(
        "compositions",
        "a direct operator against the product of two shorter ones over a middle layer, on test tokens",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            POLICY,
            Column("middle_layer", int32, "layer where the two shorter operators meet", minimum=0),
            Column("method", string, "method of all three operators"),
            count("n_test", "test tokens", "tokens"),
            count("n_test_documents", "test documents"),
            *score("r2_direct", "weighted R2 of the direct operator"),
            *score("r2_composed", "weighted R2 of the composed operator"),
            *score("r2_lost", "r2_direct - r2_composed: the part not linearly represented in the middle layer", maximum=None),
            Column("relative_distance", float64, "|T_direct - T_2 T_1| / |T_direct|, Frobenius", minimum=0),
        ),
        ("collection", "evaluation", "source_layer", "middle_layer", "target_layer", "method"),
        ("collection",),
        rules=(
            Rule(
                "middle_layer is between source and target",
                "source_layer, middle_layer, target_layer",
                """select collection, evaluation, source_layer, middle_layer, target_layer from compositions
                where middle_layer not between source_layer + 1 and target_layer - 1""",
            ),
        ),
    ),
    Table(
        "scaling",
        "an operator fitted on a share of the train documents, with fixed validation and test documents",
        (
            COLLECTION,
            EVALUATION,
            *PAIR,
            POLICY,
            Column("method", string, "fitting method"),
            Column("fraction_asked", float64, "share of the train documents that was asked for: `operators.train_fractions`", minimum=0, maximum=1),
            Column("fraction", float64, "share of the train tokens that the operator was fitted on: whole documents, chosen by hash, so that few of them give another share than was asked for", minimum=0, maximum=1),
            Column("fraction_documents", float64, "share of the train documents that it was fitted on", minimum=0, maximum=1),
            count("n_train", "train tokens", "tokens"),
            count("n_train_documents", "train documents"),
            Column("alpha", float64, "regularisation with the largest R2 on the validation documents", nullable=True, minimum=0),
            Column("r2_val", float64, "R2 on val, uniform mean over dimensions", nullable=True, maximum=1),
            count("n_test", "test tokens", "tokens"),
            count("n_test_documents", "test documents"),
            *score("r2", "R2 on test, uniform mean over dimensions"),
            *score("r2_weighted", "1 - sum SSE / sum SST on test"),
        ),
        ("collection", "evaluation", "source_layer", "target_layer", "method", "fraction_asked"),
        ("collection",),
        rules=(
            Rule(
                "a larger share of train documents has more tokens",
                "fraction_asked, n_train",
                """select collection, evaluation, source_layer, target_layer, method, fraction_asked, n_train from scaling
                qualify n_train < lag(n_train) over (
                    partition by collection, evaluation, source_layer, target_layer, method order by fraction_asked
                )""",
            ),
        ),
    ),
)
