"""Tables: collections, their sequences and their residuals."""

import pyarrow as pa

from ato.models.sites import SITES
from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    Column,
    Rule,
    Table,
    boolean,
    float32,
    float64,
    int32,
    int64,
    string,
    timestamp,
)

# fmt: off
TABLES = (
    Table(
        "collections",
        "one collection of residuals: model, corpus, tokens kept and dropped",
        (
            COLLECTION,
            Column("model", string, "model as named in the settings: hub id, folder or GGUF file"),
            Column("revision", string, "revision of the model on the hub", nullable=True),
            Column("weights_hash", string, "SHA-256 of the weight files, first 16 hex digits"),
            Column("corpus", string, "corpus as named in the settings"),
            Column("corpus_hash", string, "SHA-256 over the sorted document hashes, first 16 hex digits"),
            Column("n_documents", int64, "documents with at least one sequence", minimum=1),
            Column("n_sequences", int64, "sequences run through the model", minimum=1),
            Column("n_tokens", int64, "tokens run through the model", unit="tokens", minimum=1),
            Column("n_kept", int64, "tokens kept for statistics", unit="tokens", minimum=0),
            Column("dropped_by_reason", pa.map_(string, int64), "tokens excluded from statistics, by reason"),
            Column("skipped_documents", pa.map_(string, int64), "documents skipped, by reason"),
            Column("n_unread_files", int64, "files of the corpus that no reader knows; NULL in collections made before they were counted", nullable=True, minimum=0),
            Column("unread_files", pa.list_(string), "their paths, the first 1,000", nullable=True),
            Column("seq_len", int32, "maximum sequence length", unit="tokens", minimum=1),
            Column("dtype", string, "precision of the forward pass"),
            Column("site", string, f"where in a block residuals were read: {', '.join(SITES)}"),
            Column("d_model", int32, "width of the residual stream", minimum=1),
            Column("n_layers", int32, "blocks in the model", minimum=1),
            Column("layers", pa.list_(int32), "layers whose residuals were read"),
            Column("median_norm", pa.list_(float64), "median residual norm per layer on the pilot shard, ordered as layers"),
            Column("split_seed", int64, "seed of the document hash that assigns splits"),
            Column("n_folds", int32, "cross-validation folds within the train split", minimum=2),
            Column("fewer_tokens_than_dimensions", boolean, "true if the train split has fewer kept tokens than d_model"),
            Column(
                "warnings",
                pa.list_(string),
                "what else a reader of its numbers should know: that the model needs a BOS token which the text lacks",
                nullable=True,
            ),
            Column("settings", string, "settings of the collection (JSON)"),
            Column("created_at", timestamp, "time of completion", volatile=True),
        ),
        ("collection",),
        ("collection",),
        rules=(
            Rule(
                "kept and dropped tokens add up to the tokens run",
                "n_kept, dropped_by_reason, n_tokens",
                """select collection, n_kept, coalesce(list_sum(map_values(dropped_by_reason)), 0)::bigint as n_dropped,
                    n_tokens
                from collections where n_kept + n_dropped <> n_tokens""",
            ),
            Rule(
                "counts match its sequences",
                "n_sequences, n_tokens, n_documents",
                """select c.collection, c.n_sequences, count(s.sequence_id) as sequences, c.n_tokens,
                    coalesce(sum(s.n_tokens), 0)::bigint as tokens, c.n_documents, count(distinct s.document_id) as documents
                from collections as c left join known_sequences as s using (collection)
                group by c.collection, c.n_sequences, c.n_tokens, c.n_documents
                having (sequences, tokens, documents) <> (c.n_sequences, c.n_tokens, c.n_documents)""",
            ),
            Rule(
                "every stored layer has one activation per kept token",
                "n_kept, layers",
                """select c.collection, c.layer, c.n_kept, coalesce(f.n_rows, 0) as n_rows
                from (select collection, n_kept, unnest(layers) as layer from collections) as c
                left join (
                    select collection, layer, sum(n_rows)::bigint as n_rows from activation_files group by all
                ) as f using (collection, layer)
                where c.collection in (select collection from activation_files) and c.n_kept <> coalesce(f.n_rows, 0)""",
            ),
        ),
    ),
    Table(
        "sequences",
        "one sequence of tokens, within one document",
        (
            COLLECTION,
            Column("sequence_id", int64, "number of the sequence within its collection", minimum=0),
            Column("document_id", string, "SHA-256 of the document's bytes, first 16 hex digits"),
            Column("document", int64, "number of the document within its collection", minimum=0),
            Column("split", string, "train, val or test; by document"),
            Column("fold", int32, "cross-validation fold within train; NULL elsewhere", nullable=True, minimum=0),
            Column("start", int32, "offset of the first token in its document", unit="tokens", minimum=0),
            Column("n_tokens", int32, "length of the sequence", unit="tokens", minimum=1),
            Column("token_ids", pa.list_(int32), "token ids"),
            Column("text", string, "decoded text"),
        ),
        ("collection", "sequence_id"),
        ("collection",),
        rules=(
            Rule(
                "no document is in two splits or folds",
                "document_id, split, fold",
                """select collection, document_id, string_agg(distinct split, ', ' order by split) as splits
                from sequences group by collection, document_id
                having count(distinct (split, coalesce(fold, -1))) > 1""",
            ),
            Rule(
                "train has a fold, val and test have none",
                "split, fold",
                """select collection, sequence_id, split, fold from sequences where (split = 'train') <> (fold is not null)""",
            ),
            Rule(
                "n_tokens is the length of token_ids",
                "n_tokens, token_ids",
                """select collection, sequence_id, n_tokens, len(token_ids) as length
                from sequences where n_tokens <> len(token_ids)""",
            ),
        ),
    ),
    Table(
        "document_strata",
        "what the corpus says about one document by one stratum: its topic, decade, president, folder or a field of its record",
        (
            COLLECTION,
            Column("strata", string, "key of the reading: collection, fields and all values"),
            Column("document_id", string, "SHA-256 of the document's bytes, first 16 hex digits"),
            Column("document", int64, "number of the document within its collection", minimum=0),
            Column("stratum", string, "what documents are compared by: topic, decade, president, folder, or a field as collect.strata names it"),
            Column("value", string, "its value, up to 200 characters; NULL without a single one", nullable=True),
            Column("reason", string, "why value is NULL: missing (no record of the document has one) or several (different ones)", nullable=True),
        ),
        ("collection", "strata", "document_id", "stratum"),
        ("collection",),
        rules=(
            Rule(
                "document is in sequences",
                "document_id, document",
                """select distinct t.collection, t.document_id, t.document
                from document_strata as t anti join known_sequences using (collection, document_id, document)""",
            ),
            Rule(
                "a value, or the reason why there is none",
                "value, reason",
                """select collection, document_id, stratum, value, reason from document_strata
                where (value is null) = (reason is null) or reason not in ('missing', 'several')""",
            ),
            Rule(
                "every document has every stratum of its reading",
                "document_id, stratum",
                """select collection, strata, stratum, count(*) as n_documents
                from document_strata group by collection, strata, stratum
                qualify n_documents <> max(n_documents) over (partition by collection, strata)""",
            ),
        ),
    ),
    Table(
        "activations",
        "the residual of one token after one block",
        (
            COLLECTION,
            LAYER,
            Column("sequence_id", int64, "sequence of the token", minimum=0),
            Column("position", int32, "position in the sequence, from 0", unit="tokens", minimum=0),
            Column("token_id", int32, "vocabulary id of the token", minimum=0),
            Column("norm", float32, "Euclidean norm of the residual", minimum=0),
            Column("residual", None, "residual stream, FLOAT[d_model]"),
        ),
        ("collection", "layer", "sequence_id", "position"),
        ("collection", "layer"),
        rules=(
            Rule(
                "token matches its sequence and position",
                "sequence_id, position, token_id",
                """select a.collection, a.layer, a.sequence_id, a.position, a.token_id
                from activations as a left join known_sequences as s using (collection, sequence_id)
                where s.token_ids[a.position + 1] is distinct from a.token_id""",
            ),
            Rule(
                "norm is the Euclidean norm of the residual",
                "norm, residual",
                """select collection, layer, sequence_id, position, norm, residual_norm from activations
                where residual_norm is not null and not abs(norm - residual_norm) <= 1e-3 * residual_norm + 1e-6""",
            ),
        ),
    ),
    Table(
        "attended",
        "the most attended source positions of one token, averaged over the heads of the block",
        (
            COLLECTION,
            LAYER,
            Column("sequence_id", int64, "sequence of the token", minimum=0),
            Column("position", int32, "position of the attending token", unit="tokens", minimum=0),
            Column("source_positions", pa.list_(int32), "most attended positions among kept tokens, largest weight first"),
            Column("weights", pa.list_(float32), "attention weights of source_positions, mean over heads, not renormalised", as_long_as="source_positions"),
        ),
        ("collection", "layer", "sequence_id", "position"),
        ("collection", "layer"),
        rules=(
            Rule(
                "every source position has a weight and none is after the token",
                "source_positions, weights, position",
                """select collection, layer, sequence_id, position, source_positions, weights from attended
                where len(source_positions) <> len(weights) or list_max(source_positions) > position""",
            ),
        ),
    ),
)
