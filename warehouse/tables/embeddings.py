"""Tables: embeddings of texts that say what a feature is about, for the search by meaning."""

import pyarrow as pa

from warehouse.tables.declarations import COLLECTION, LAYER, Column, Rule, Table, float32, float64, int32, string
from warehouse.tables.label_evidence import FEATURE, SAE

# fmt: off
EMBEDDING = Column("embedding", string, "key of the embedding: SAE, kind, texts and encoder")
KIND = Column("kind", string, "description (a label or a published explanation), example (a strong window) or tokens (of the logit lens)")
ENCODER = Column("encoder", string, "sentence encoder")

TABLES = (
    Table(
        "feature_embeddings",
        "a text that says what a feature is about, as a sentence encoder embeds it",
        (
            COLLECTION,
            EMBEDDING,
            SAE,
            LAYER,
            FEATURE,
            KIND,
            Column("number", int32, "number among the feature's texts of this kind, from 1", minimum=1),
            Column("source", string, "who wrote a description: a judge or an explainer; stage that found an example or tokens"),
            Column("text", string, "the text"),
            ENCODER,
            Column("vector", pa.list_(float32), "its embedding, of length 1"),
        ),
        ("collection", "embedding", "feature_id", "number"),
        ("collection", "sae"),
        rules=(
            Rule(
                "vectors have length 1",
                "vector",
                """select collection, embedding, feature_id, number from feature_embeddings
                where abs(list_inner_product(vector, vector) - 1) > 1e-3""",
            ),
        ),
    ),
    Table(
        "embedding_nulls",
        "the best match of an unrelated query among the texts of one embedding",
        (
            COLLECTION,
            EMBEDDING,
            SAE,
            LAYER,
            KIND,
            Column("query", string, "an everyday phrase"),
            Column("similarity", float64, "largest cosine of the phrase with one of the texts", minimum=-1.000001, maximum=1.000001),
            ENCODER,
        ),
        ("collection", "embedding", "query"),
        ("collection", "sae"),
        rules=(
            Rule(
                "its texts are there",
                "embedding",
                """select distinct n.collection, n.embedding from embedding_nulls as n
                anti join known_feature_embeddings using (collection, embedding)""",
            ),
        ),
    ),
)
