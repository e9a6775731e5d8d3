"""Tables: mean Jacobians of pairs of layers, and how they converged."""

from warehouse.tables.declarations import COLLECTION, PAIR, Column, Rule, Table, boolean, float64, int32, int64, string

# fmt: off
JACOBIAN = Column("jacobian", string, "key of the Jacobian: layer pair, settings, text")

TABLES = (
    Table(
        "jacobians",
        "the mean derivative of one layer's residual stream by that of an earlier layer, over train tokens",
        (
            COLLECTION,
            JACOBIAN,
            *PAIR,
            Column("positions", string, "target positions that count: same (the token's own) or later (its own and all later ones)"),
            Column("n_tokens", int64, "train tokens; NULL for a file", unit="tokens", nullable=True, minimum=1),
            Column("n_documents", int64, "documents that it is the mean over", minimum=0),
            Column("probes", int32, "rows of each token's Jacobian that were computed; d_model is all; NULL for a file", nullable=True, minimum=1),
            Column("relative_error", float64, "standard error in the Frobenius norm, by document, over the norm; NULL below two documents a row", nullable=True, minimum=0),
            Column("converged", boolean, "true if that error is within jacobians.tolerance; NULL for a file", nullable=True),
            Column("norm", float64, "Frobenius norm", minimum=0),
            Column("identity_cosine", float64, "cosine with the identity: trace / (norm sqrt(d)); NULL if it is 0", nullable=True, minimum=-1, maximum=1),
            Column("seconds", float64, "wall time, that of passes shared out over their pairs; NULL for a file", unit="s", nullable=True, minimum=0),
            Column("source", string, "model, or the file of a Jacobian lens"),
            Column("path", string, "safetensors file with the sums, relative to the warehouse"),
        ),
        ("collection", "jacobian"),
        ("collection",),
        rules=(
            Rule(
                "positions is same or later",
                "positions",
                "select distinct collection, jacobian, positions from jacobians where positions not in ('same', 'later')",
            ),
        ),
    ),
    Table(
        "jacobian_convergence",
        "the running mean of a Jacobian after one more part of the text",
        (
            COLLECTION,
            JACOBIAN,
            *PAIR,
            Column("part", int32, "number of the part, from 0", minimum=0),
            Column("n_tokens", int64, "train tokens so far", unit="tokens", minimum=0),
            Column("n_documents", int64, "documents so far", minimum=0),
            Column("change", float64, "change of the mean by this part, over its norm; NULL where there is no mean before", nullable=True, minimum=0),
            Column("relative_error", float64, "standard error so far, as in jacobians", nullable=True, minimum=0),
        ),
        ("collection", "jacobian", "part"),
        ("collection",),
        rules=(
            Rule(
                "jacobian is in jacobians",
                "jacobian",
                """select distinct c.collection, c.jacobian
                from jacobian_convergence as c anti join known_jacobians using (collection, jacobian)""",
            ),
        ),
    ),
)
