"""Tables: the transport of features in another model, beside this collection's, on the same documents."""

from warehouse.tables.declarations import (
    COLLECTION,
    FEATURE,
    PAIR,
    POLICY,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int64,
    score,
    string,
)

# fmt: off
COMPARED = (
    COLLECTION,
    Column("comparison", string, "key of the comparison: both collections, their operators, SAEs and settings"),
    Column("other_collection", string, "key of the other collection, of the same text"),
    Column("other_model", string, "name of the other model: the last part of its folder"),
    Column("sae", string, "key of this collection's SAE, which judges both models"),
    *PAIR,
    POLICY,
    Column("method", string, "method of both operators"),
)
TABLES = (
    Table(
        "comparisons",
        "transport between two layers in another model, beside this collection's: averages over the features of one SAE",
        (
            *COMPARED,
            Column("operator", string, "key of this collection's operator"),
            Column("other_operator", string, "key of the other collection's operator"),
            Column("n_features", int64, "features scored in both models", minimum=0),
            Column("n_documents", int64, "test documents (above 256: groups of them) that were left out one at a time", minimum=0),
            Column("n_changed", int64, "features whose r2 changed, see `feature_comparisons.changed`", minimum=0),
            Column("n_verdicts_changed", int64, "features transported in one model and computed in the other", minimum=0),
            *score("mean_difference", "mean over features of r2 in the other model less r2 in this one", maximum=None),
            *score("mean_loss", "mean over features of what r2 in the other model loses by this collection's operator in place of its own", maximum=None),
            Column("relative_distance", float64, "|T_other - T| / |T|, Frobenius; NULL where T is 0", nullable=True, minimum=0),
        ),
        ("collection", "comparison", "sae", "source_layer", "target_layer"),
        ("collection", "sae"),
        rules=(
            Rule(
                "n_changed counts the features that changed",
                "n_changed, n_features",
                """select c.collection, c.comparison, c.sae, c.source_layer, c.target_layer, c.n_changed,
                    f.n_changed as counted
                from comparisons as c left join (
                    select collection, comparison, sae, source_layer, target_layer,
                        count(*) filter (where changed) as n_changed,
                        count(*) filter (where difference is not null) as n_features
                    from known_feature_comparisons group by all
                ) as f using (collection, comparison, sae, source_layer, target_layer)
                where (c.n_changed, c.n_features) is distinct from (f.n_changed, f.n_features)""",
            ),
        ),
    ),
    Table(
        "feature_comparisons",
        "transport of one feature in another model, beside this collection's, on the tokens where each model has it active",
        (
            *COMPARED,
            FEATURE,
            Column("n_active", int64, "test tokens on which the feature is active in this collection", unit="tokens", minimum=0),
            Column("other_n_active", int64, "the same in the other", unit="tokens", minimum=0),
            *score("r2", "R2 of the decoder-row projection in this model, by its operator"),
            *score("other_r2", "the same in the other model, by its own operator"),
            *score("difference", "other_r2 - r2, a document left out of both models at once", maximum=None),
            Column("p", float64, "two-sided p of no difference", nullable=True, minimum=0, maximum=1),
            Column("q", float64, "false discovery rate of the difference, over the features of the SAE and pair", nullable=True, minimum=0, maximum=1),
            Column("changed", boolean, "q is within `compare.false_discovery` and the difference at least `compare.smallest_change`; NULL without q", nullable=True),
            Column("r2_transferred", float64, "R2 in the other model by this collection's operator", nullable=True, maximum=1),
            *score("loss", "other_r2 - r2_transferred: what the other model loses by this collection's operator", maximum=None),
            Column("verdict", string, "verdict of r2 in this model: transported, computed or undetermined"),
            Column("other_verdict", string, "the same in the other"),
        ),
        ("collection", "comparison", "sae", "source_layer", "target_layer", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "difference is that of the two scores",
                "r2, other_r2, difference",
                """select collection, comparison, sae, source_layer, target_layer, feature_id, r2, other_r2, difference
                from feature_comparisons where abs(difference - (other_r2 - r2)) > 1e-6""",
            ),
        ),
    ),
)
