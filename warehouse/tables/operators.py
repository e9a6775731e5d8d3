"""Tables: transport operators, their cross-validation and their spectra."""

from ato.operators.methods import METHODS
from warehouse.tables.declarations import (
    COLLECTION,
    METHOD,
    OPERATOR,
    PAIR,
    POLICY,
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

*_FIRST, _LAST = METHODS
ANY_METHOD = f"{', '.join(_FIRST)} or {_LAST}"

# fmt: off
TABLES = (
    Table(
        "operators",
        "one fitted transport operator (or baseline) and its scores on held-out tokens",
        (
            COLLECTION,
            OPERATOR,
            *PAIR,
            POLICY,
            Column("method", string, ANY_METHOD),
            Column("output_weight", string, "metric of reduced-rank regression", nullable=True),
            Column("alpha", float64, "regularisation: on the sum of squares for ridge methods, on scikit-learn's scale for lasso and elasticnet", nullable=True, minimum=0),
            Column("l1_ratio", float64, "share of the L1 penalty; NULL for ridge methods", nullable=True, minimum=0, maximum=1),
            Column("alpha_at_edge", boolean, "true if the chosen alpha is the first or last of its grid"),
            Column("rank", int32, "rank of the map; NULL for the identity", nullable=True, minimum=0),
            Column("kept_rank", int32, "source directions above the relative cutoff", nullable=True, minimum=0),
            Column("n_train", int64, "train tokens", unit="tokens", minimum=0),
            Column("n_test", int64, "test tokens", unit="tokens", minimum=0),
            Column("n_test_documents", int64, "test documents", minimum=0),
            Column("n_unpaired", int64, "train and test target tokens without a source token under the position policy", unit="tokens", minimum=0),
            Column("few_tokens", boolean, "true if n_train < 10 d_model: in-sample numbers are optimistic"),
            Column("r2_train", float64, "R2 on train, uniform mean over dimensions", nullable=True, maximum=1),
            Column("r2_cv", float64, "mean held-out R2 over folds at the chosen alpha", nullable=True, maximum=1),
            Column("r2_val", float64, "R2 on val, uniform mean over dimensions", nullable=True, maximum=1),
            *score("r2_test", "R2 on test, uniform mean over dimensions"),
            *score("r2_weighted", "1 - sum SSE / sum SST on test"),
            *score("r2_whitened", "R2 on test in the metric of the train covariance of the target"),
            *score("r2_update", "uniform mean R2 on test for predicting y - x"),
            *score("skill", "1 - SSE / SSE of the identity, on test"),
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
        "held-out R2 of one alpha on one fold",
        (
            COLLECTION,
            OPERATOR,
            *PAIR,
            Column("method", string, "method that was cross-validated"),
            Column("alpha", float64, "regularisation", minimum=0),
            Column("l1_ratio", float64, "share of the L1 penalty; NULL for ridge", nullable=True, minimum=0, maximum=1),
            Column("fold", int32, "held-out fold", minimum=0),
            Column("r2", float64, "R2 on the fold, uniform mean over dimensions", nullable=True, maximum=1),
        ),
        ("collection", "operator", "alpha", "l1_ratio", "fold"),
        ("collection",),
        rules=(
            Rule(
                "operator is in operators",
                "operator",
                """select distinct c.collection, c.operator
                from operator_cv as c anti join known_operators using (collection, operator)""",
            ),
        ),
    ),
    Table(
        "operator_spectra",
        "one singular value and one eigenvalue of an operator's matrix",
        (
            COLLECTION,
            OPERATOR,
            *PAIR,
            POLICY,
            METHOD,
            Column("mode", int32, "number of the mode, from 1; singular values and eigenvalues by descending magnitude", minimum=1),
            Column("singular_value", float64, "singular value of T", minimum=0),
            Column("eigenvalue_real", float64, "real part of the eigenvalue; NULL unless T is square", nullable=True),
            Column("eigenvalue_imag", float64, "imaginary part of the eigenvalue; NULL unless T is square", nullable=True),
        ),
        ("collection", "operator", "mode"),
        ("collection",),
        rules=(
            Rule(
                "operator is in operators",
                "operator",
                """select distinct c.collection, c.operator
                from operator_spectra as c anti join known_operators using (collection, operator)""",
            ),
            Rule(
                "singular values do not rise with the mode",
                "singular_value, mode",
                """select collection, operator, mode, singular_value from operator_spectra
                qualify singular_value > lag(singular_value) over (partition by collection, operator order by mode) * (1 + 1e-9)""",
            ),
        ),
    ),
)
