"""Tables: where chosen features fire, and where they provably do not: what descriptions are made from and tested on."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    Column,
    Rule,
    Table,
    float32,
    float64,
    int32,
    int64,
    share,
    string,
)

# fmt: off
EVIDENCE = Column("evidence", string, "key of the evidence: SAE, chosen features, how windows are drawn")
SAE = Column("sae", string, "key of the SAE, in saes or studied_saes; of MLP neurons, their layer: neurons-L12; of an adapter, layer and model: adapter-L12-0f3a9c1e")
FEATURE = Column("feature_id", int32, "index of the feature in the SAE, or of the neuron in its layer", minimum=0)
SOURCE = Column("source", string, "sae, transcoder, adapter (a layer of a transcoder adapter) or neurons (the baseline)")
OF_EVIDENCE = (COLLECTION, EVIDENCE, SAE, LAYER, FEATURE)
TIERS = "random: from any text; same_stratum: from text like that it fires on; near_miss: where its neighbours fire"


def of_labelled_features(table: str) -> Rule:
    """Every row is of a feature that was chosen."""
    return Rule(
        "feature is in labelled_features",
        "evidence, feature_id",
        f"""select distinct t.collection, t.evidence, t.feature_id from {table} as t
        anti join known_labelled_features using (collection, evidence, feature_id)""",
    )


TABLES = (
    Table(
        "labelled_sources",
        "what the features of an evidence are read from: an SAE, a transcoder, a layer of an adapter, or the neurons of a layer",
        (
            COLLECTION,
            EVIDENCE,
            SAE,
            LAYER,
            SOURCE,
            Column("site", string, "what it reads at the layer: resid_post, mlp_in, mlp_neurons and so on"),
            Column("d_sae", int32, "features that it has, labelled or not", minimum=1),
            Column("folder", string, "checkpoint of an adapter; NULL for others", nullable=True),
        ),
        ("collection", "evidence"),
        ("collection", "sae"),
        rules=(
            Rule(
                "features are among d_sae",
                "evidence, d_sae",
                """select s.collection, s.evidence, max(f.feature_id) as feature_id from labelled_sources as s
                inner join known_labelled_features as f using (collection, evidence)
                group by s.collection, s.evidence having max(f.feature_id) >= any_value(s.d_sae)""",
            ),
        ),
    ),
    Table(
        "labelled_features",
        "a feature that is labelled, and why it comes when it does",
        (
            *OF_EVIDENCE,
            SOURCE,
            Column("place", int32, "its place in the order in which features are labelled, from 1", minimum=1),
            Column("ordered_by", string, "score, causal_effect, attribution, influence, transport (its verdict), random, or named: by the settings"),
            Column("value", float64, "what it is ordered by; of transport the R2 over the shortest leap; NULL where it has none", nullable=True),
            share("covered", "share of the sum of |value| over the SAE's features that is labelled up to this place; NULL but for effects"),
            Column("n_tokens", int64, "tokens read, of all splits", unit="tokens", minimum=0),
            Column("n_active", int64, "tokens on which it fires", unit="tokens", minimum=0),
            Column("max_activation", float64, "largest activation; NULL if it never fires", nullable=True, minimum=0),
            Column("promoted", pa.list_(string), "tokens that its decoder row promotes most (logit lens, with the final norm's gain)"),
            Column("promoted_logits", pa.list_(float32), "their logits", as_long_as="promoted"),
            Column("suppressed", pa.list_(string), "tokens that it suppresses most"),
            Column("suppressed_logits", pa.list_(float32), "their logits", as_long_as="suppressed"),
        ),
        ("collection", "evidence", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "places are 1 to n",
                "place",
                """select collection, evidence, feature_id, place from labelled_features
                qualify place <> row_number() over (partition by collection, evidence order by place)""",
            ),
            Rule(
                "sae is in saes or of a study, unless they are neurons or an adapter",
                "sae",
                """with known as (
                    select collection, sae from known_saes union all select collection, sae from known_studied_saes
                )
                select distinct f.collection, f.sae from labelled_features as f
                anti join known using (collection, sae) where f.source not in ('neurons', 'adapter')""",
            ),
        ),
    ),
    Table(
        "example_windows",
        "a window of text in which a feature fires, or in which it provably does not",
        (
            *OF_EVIDENCE,
            Column("window_id", int32, "number of the window among those of the feature", minimum=0),
            Column("kind", string, "top, quantile, random, or silent"),
            Column("tier", string, f"of a silent one, where it is from. {TIERS}", nullable=True),
            Column("rank", int32, "number within kind, tier and split, from 1", minimum=1),
            Column("quantile", float64, "upper end of the activation quantile; NULL for other kinds", nullable=True, minimum=0, maximum=1),
            Column("neighbour", int32, "of near_miss: the feature that fires at its position", nullable=True, minimum=0),
            Column("corpus", string, "corpus of the collection"),
            Column("document_id", string, "content hash of the document"),
            Column("document", int32, "number of the document within the collection", minimum=0),
            Column("sequence_id", int64, "sequence of the window", minimum=0),
            Column("position", int32, "position in the sequence of the token that it was chosen for", unit="tokens", minimum=0),
            Column("start", int32, "position of its first token", unit="tokens", minimum=0),
            Column("split", string, "train (descriptions are made from it), val (they are chosen on it) or test (they are judged on it)"),
            Column("stratum", string, "value of the corpus's first stratum; NULL if it says nothing of the document", nullable=True),
            Column("activation", float64, "activation at its position; 0 of a silent one", minimum=0),
            Column("tokens", pa.list_(string), "texts of its tokens; a character that several share stands at the first"),
            Column("activations", pa.list_(float32), "activation at each token", as_long_as="tokens"),
        ),
        ("collection", "evidence", "feature_id", "window_id"),
        ("collection", "sae"),
        rules=(
            of_labelled_features("example_windows"),
            Rule(
                "no token of a silent window is active",
                "kind, activations",
                """select collection, evidence, feature_id, window_id from example_windows
                where kind = 'silent' and (list_max(activations) > 0 or activation > 0)""",
            ),
            Rule(
                "an active window fires at its position",
                "kind, position, start, activations",
                """select collection, evidence, feature_id, window_id from example_windows
                where kind <> 'silent' and (position < start or position >= start + len(activations)
                    or activation <= 0 or abs(activations[position - start + 1] - activation) > 1e-3 * activation + 1e-6)""",
            ),
            Rule(
                "only silent windows have a tier",
                "kind, tier",
                """select collection, evidence, feature_id, window_id from example_windows where (kind = 'silent') <> (tier is not null)""",
            ),
            Rule(
                "no document is both shown and judged on",
                "document, split",
                """select collection, evidence, feature_id, document from example_windows
                group by collection, evidence, feature_id, document having count(distinct split) > 1""",
            ),
        ),
    ),
    Table(
        "feature_histograms",
        "how often a feature's activation lies in a range",
        (
            *OF_EVIDENCE,
            Column("bin", int32, "number of the range, from the smallest", minimum=0),
            Column("low", float64, "its lower end", minimum=0),
            Column("high", float64, "its upper end; NULL for the last, which is open", nullable=True, minimum=0),
            Column("n", int64, "active tokens in it", unit="tokens", minimum=1),
        ),
        ("collection", "evidence", "feature_id", "bin"),
        ("collection", "sae"),
        rules=(
            of_labelled_features("feature_histograms"),
            Rule(
                "ranges hold every active token",
                "n",
                """select collection, evidence, feature_id, sum(n) as n, any_value(n_active) as n_active from feature_histograms
                inner join known_labelled_features using (collection, evidence, feature_id)
                group by collection, evidence, feature_id having sum(n) <> any_value(n_active)""",
            ),
        ),
    ),
    Table(
        "feature_strata",
        "how often a feature fires in one part of the text, such as one topic or one tenth of the sequences",
        (
            *OF_EVIDENCE,
            Column("stratum", string, "what divides the text: a stratum of the corpus, region (of a conversation: its roles, and the template's own words), or relative_position"),
            Column("value", string, "which part"),
            Column("n_tokens", int64, "tokens in it", unit="tokens", minimum=0),
            Column("n_active", int64, "those on which the feature fires", unit="tokens", minimum=0),
            share("density", "n_active / n_tokens: comparable between parts"),
            share("share", "this part's share of the feature's active tokens, of those that the stratum says something of"),
        ),
        ("collection", "evidence", "feature_id", "stratum", "value"),
        ("collection", "sae"),
        rules=(
            of_labelled_features("feature_strata"),
            Rule(
                "density is n_active / n_tokens",
                "n_active, n_tokens, density",
                """select collection, evidence, feature_id, stratum, value from feature_strata
                where n_active > n_tokens or abs(density * n_tokens - n_active) > 1e-6 * n_tokens""",
            ),
        ),
    ),
    Table(
        "feature_neighbours",
        "a feature that fires with another one, or whose decoder row is like its",
        (
            *OF_EVIDENCE,
            Column("method", string, "coactivation: by the correlation (phi) of firing; decoder: by the cosine of decoder rows"),
            Column("rank", int32, "number among these, from 1", minimum=1),
            Column("neighbour", int32, "index of the other feature", minimum=0),
            Column("value", float64, "that correlation or cosine", minimum=-1.000001, maximum=1.000001),
        ),
        ("collection", "evidence", "feature_id", "method", "rank"),
        ("collection", "sae"),
        rules=(of_labelled_features("feature_neighbours"),),
    ),
)
