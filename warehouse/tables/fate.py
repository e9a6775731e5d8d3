"""Tables: what becomes of features between layers, by the weights of SAEs and by ablation in the running model."""

from warehouse.tables.declarations import (
    COLLECTION,
    EVALUATION,
    FEATURE,
    LAYER,
    METHOD,
    PAIR,
    Column,
    Rule,
    Table,
    cosine,
    float64,
    int32,
    int64,
    score,
    string,
)


def _verdict(name: str, of: str, *, nullable: bool = False) -> Column:
    return Column(name, string, f"transported, computed or undetermined, from {of}", nullable=nullable)


def _in_saes(table: str) -> Rule:
    return Rule(
        "sae is in saes",
        "sae",
        f"select distinct f.collection, f.sae from {table} as f anti join known_saes using (collection, sae)",
    )


# fmt: off
TABLES = (
    Table(
        "feature_links",
        "one SAE feature beside its nearest of an SAE at another layer: its ancestor at an earlier one, its heir at a later one",
        (
            COLLECTION,
            EVALUATION,
            Column("sae", string, "key of the feature's SAE"),
            LAYER,
            FEATURE,
            Column("other_sae", string, "key of the SAE at the other layer"),
            Column("other_layer", int32, "layer of that SAE", minimum=0),
            Column("operator", string, "key of the operator from the earlier layer to the later one"),
            METHOD,
            Column("nearest_feature", int32, "feature of the other SAE with the largest decoder cosine; NULL: a decoder row is zero", nullable=True, minimum=0),
            cosine("decoder_cosine", "cosine of the two decoder rows"),
            cosine("decoder_cosine_chance", "null: quantile 0.95, over the features, of the largest cosine after a random rotation of all decoder rows"),
            _verdict("decoder_verdict", "decoder_cosine and the settings `fate.same_above` and `fate.other_below`"),
            Column("transport_feature", int32, "feature of the other SAE with the largest cosine of the later decoder row with the earlier one after the operator", nullable=True, minimum=0),
            cosine("transport_cosine", "that cosine"),
            cosine("transport_cosine_chance", "null: as decoder_cosine_chance"),
            _verdict("transport_verdict", "transport_cosine and the same settings"),
            Column("n_active", int64, "test tokens on which the feature is active; NULL beside a later layer, as are the shares", unit="tokens", nullable=True, minimum=0),
            Column("n_documents", int64, "documents of these tokens", nullable=True, minimum=0),
            *score("through", "share of the pre-activation, over active test tokens and without its constant, that comes from nearest_feature through the operator", maximum=None),
            *score("through_transported", "the same from transport_feature", maximum=None),
            *score("not_transported", "share of the transport error: what the operator does not predict", maximum=None),
            _verdict("pathway_verdict", "the interval of 1 - not_transported, by the thresholds of stage `evaluate`", nullable=True),
        ),
        ("collection", "evaluation", "sae", "feature_id", "other_sae"),
        ("collection", "sae"),
        rules=(
            _in_saes("feature_links"),
            Rule(
                "the other SAE is at another layer",
                "layer, other_layer",
                "select collection, evaluation, sae, feature_id, layer, other_layer from feature_links where layer = other_layer",
            ),
        ),
    ),
    Table(
        "feature_ablations",
        "change of one SAE feature when a direction of an earlier layer is ablated at an active token: predicted by the operator, and measured in the model",
        (
            COLLECTION,
            EVALUATION,
            Column("sae", string, "key of the feature's SAE, at the target layer"),
            FEATURE,
            *PAIR,
            Column("operator", string, "key of the operator whose prediction is tested"),
            METHOD,
            Column("direction", string, "ablated at the source: pullback (T'u, where the operator reads the feature), matched (what source_feature writes), random (control: as much along a random direction)"),
            Column("source_feature", int32, "feature of the source layer's SAE with the largest decoder cosine; NULL for other directions", nullable=True, minimum=0),
            Column("n_tokens", int64, "active test tokens at which something was taken out, one at a time", unit="tokens", minimum=0),
            Column("n_documents", int64, "documents of these tokens", minimum=0),
            Column("predicted", float64, "root mean square of the change that the operator predicts", nullable=True, minimum=0),
            Column("measured", float64, "the same of the change in the model", nullable=True, minimum=0),
            *score("agreement", "1 - sum (measured - predicted)^2 / sum measured^2"),
            *score("agreement_identity", "baseline: agreement of the identity as the operator"),
            *score("slope", "share of the predicted change that happens: sum predicted measured / sum predicted^2", maximum=None),
            _verdict("verdict", "the interval of agreement, by the thresholds of stage `evaluate`"),
        ),
        ("collection", "evaluation", "sae", "feature_id", "source_layer", "direction"),
        ("collection", "sae"),
        rules=(
            _in_saes("feature_ablations"),
            Rule(
                "nothing is measured where nothing was taken out",
                "n_tokens, measured, agreement",
                """select collection, evaluation, sae, feature_id, source_layer, direction from feature_ablations
                where n_tokens = 0 and (measured is not null or agreement is not null)""",
            ),
        ),
    ),
)
