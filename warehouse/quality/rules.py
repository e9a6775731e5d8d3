"""Rules between rows and tables, each a select of the failing rows: unique keys, foreign keys, sums.

In a rule, ``<table>`` holds the rows under check; ``known_<table>`` also holds the rows of complete stages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.catalog.catalog import duckdb_type
from warehouse.quality.suites import MAX_EXAMPLES, Finding, plain
from warehouse.storage.backends import ObjectStorage
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES, Table


@dataclass(frozen=True)
class Rule:
    """One rule of a table; ``offenders`` selects the failing rows, keys first."""

    table: str
    expectation: str
    column: str
    offenders: str


RULES: tuple[Rule, ...] = (
    Rule(
        "collections",
        "kept and dropped tokens add up to the tokens run",
        "n_kept, dropped_by_reason, n_tokens",
        """select collection, n_kept, coalesce(list_sum(map_values(dropped_by_reason)), 0)::bigint as n_dropped,
            n_tokens
        from collections where n_kept + n_dropped <> n_tokens""",
    ),
    Rule(
        "collections",
        "counts match its sequences",
        "n_sequences, n_tokens, n_documents",
        """select c.collection, c.n_sequences, count(s.sequence_id) as sequences, c.n_tokens,
            coalesce(sum(s.n_tokens), 0)::bigint as tokens, c.n_documents, count(distinct s.document_id) as documents
        from collections as c left join known_sequences as s using (collection)
        group by c.collection, c.n_sequences, c.n_tokens, c.n_documents
        having (sequences, tokens, documents) <> (c.n_sequences, c.n_tokens, c.n_documents)""",
    ),
    Rule(
        "collections",
        "every stored layer has one activation per kept token",
        "n_kept, layers",
        """select c.collection, c.layer, c.n_kept, coalesce(f.n_rows, 0) as n_rows
        from (select collection, n_kept, unnest(layers) as layer from collections) as c
        left join (
            select collection, layer, sum(n_rows)::bigint as n_rows from activation_files group by all
        ) as f using (collection, layer)
        where c.collection in (select collection from activation_files) and c.n_kept <> coalesce(f.n_rows, 0)""",
    ),
    Rule(
        "sequences",
        "no document is in two splits or folds",
        "document_id, split, fold",
        """select collection, document_id, string_agg(distinct split, ', ' order by split) as splits
        from sequences group by collection, document_id
        having count(distinct (split, coalesce(fold, -1))) > 1""",
    ),
    Rule(
        "sequences",
        "train has a fold, val and test have none",
        "split, fold",
        """select collection, sequence_id, split, fold from sequences where (split = 'train') <> (fold is not null)""",
    ),
    Rule(
        "sequences",
        "n_tokens is the length of token_ids",
        "n_tokens, token_ids",
        """select collection, sequence_id, n_tokens, len(token_ids) as length
        from sequences where n_tokens <> len(token_ids)""",
    ),
    Rule(
        "activations",
        "token matches its sequence and position",
        "sequence_id, position, token_id",
        """select a.collection, a.layer, a.sequence_id, a.position, a.token_id
        from activations as a left join known_sequences as s using (collection, sequence_id)
        where s.token_ids[a.position + 1] is distinct from a.token_id""",
    ),
    Rule(
        "activations",
        "norm is the Euclidean norm of the residual",
        "norm, residual",
        """select collection, layer, sequence_id, position, norm, residual_norm from activations
        where residual_norm is not null and not abs(norm - residual_norm) <= 1e-3 * residual_norm + 1e-6""",
    ),
    Rule(
        "saes",
        "is trusted or has a distrust_reason",
        "trusted, distrust_reason",
        "select collection, sae, trusted from saes where trusted <> (distrust_reason is null)",
    ),
    Rule(
        "feature_stats",
        "activation_rate is n_active / n_tokens",
        "n_active, n_tokens, activation_rate",
        """select collection, sae, feature_id, n_active, n_tokens, activation_rate from feature_stats
        where n_active > n_tokens or abs(activation_rate * n_tokens - n_active) > 1e-6 * n_tokens""",
    ),
    Rule(
        "feature_stats",
        "sae is in saes",
        "sae",
        "select distinct f.collection, f.sae from feature_stats as f anti join known_saes using (collection, sae)",
    ),
    Rule(
        "operator_cv",
        "operator is in operators",
        "operator",
        """select distinct c.collection, c.operator
        from operator_cv as c anti join known_operators using (collection, operator)""",
    ),
    Rule(
        "feature_transport",
        "operator is in operators, for the same pair and method",
        "operator, source_layer, target_layer, method",
        """select distinct f.collection, f.operator, f.source_layer, f.target_layer, f.method
        from feature_transport as f
        anti join known_operators using (collection, operator, source_layer, target_layer, method)""",
    ),
    Rule(
        "feature_transport",
        "sae is in saes, at the target layer",
        "sae, target_layer",
        """select distinct f.collection, f.sae, f.target_layer
        from feature_transport as f
        anti join known_saes as s
            on f.collection = s.collection and f.sae = s.sae and f.target_layer = s.layer""",
    ),
    Rule(
        "feature_transport",
        "verdict is undetermined without a score",
        "r2, verdict",
        """select collection, evaluation, operator, sae, feature_id, verdict
        from feature_transport where r2 is null and verdict <> 'undetermined'""",
    ),
    Rule(
        "efficiency",
        "in-sample ceiling does not fall with the rank",
        "ceiling_in_sample, rank",
        """select collection, evaluation, source_layer, target_layer, rank, ceiling_in_sample from efficiency
        qualify ceiling_in_sample < lag(ceiling_in_sample) over (
            partition by collection, evaluation, source_layer, target_layer order by rank
        ) - 1e-9""",
    ),
    Rule(
        "efficiency",
        "rank is at most d_kept",
        "rank, d_kept",
        "select collection, evaluation, source_layer, target_layer, rank, d_kept from efficiency where rank > d_kept",
    ),
    Rule(
        "canonical_correlations",
        "does not rise with the mode",
        "rho_in_sample, mode",
        """select collection, evaluation, source_layer, target_layer, mode, rho_in_sample from canonical_correlations
        qualify rho_in_sample > lag(rho_in_sample) over (
            partition by collection, evaluation, source_layer, target_layer order by mode
        ) + 1e-9""",
    ),
    Rule(
        "attended",
        "every source position has a weight and none is after the token",
        "source_positions, weights, position",
        """select collection, layer, sequence_id, position, source_positions, weights from attended
        where len(source_positions) <> len(weights) or list_max(source_positions) > position""",
    ),
    Rule(
        "feature_scores",
        "sae is in saes",
        "sae",
        "select distinct f.collection, f.sae from feature_scores as f anti join known_saes using (collection, sae)",
    ),
    Rule(
        "feature_scores",
        "ranks follow the scores, and selected features have a rank",
        "rank, score, selected",
        """select collection, scoring, feature_id, rank, score, selected from feature_scores
        qualify (rank is null) <> (score is null) or (selected and score is null)
            or score > lag(score) over (partition by collection, scoring order by rank nulls last) + 1e-9""",
    ),
    Rule(
        "feature_examples",
        "has one activation per token, with the peak at its position",
        "tokens, activations, position, start",
        """select collection, scoring, feature_id, kind, rank from feature_examples
        where len(tokens) <> len(activations) or position < start or position >= start + len(tokens)
            or abs(activations[position - start + 1] - activation) > 1e-3 * activation + 1e-6""",
    ),
    Rule(
        "feature_examples",
        "feature is in feature_scores and selected",
        "scoring, feature_id",
        """select distinct e.collection, e.scoring, e.feature_id from feature_examples as e
        anti join (from known_feature_scores where selected) using (collection, scoring, feature_id)""",
    ),
    Rule(
        "explanations",
        "sae is in saes and has the feature",
        "sae, feature_id",
        """select distinct e.collection, e.sae, e.feature_id from explanations as e
        left join known_saes as s using (collection, sae) where s.d_sae is null or e.feature_id >= s.d_sae""",
    ),
    Rule(
        "operator_spectra",
        "operator is in operators",
        "operator",
        """select distinct c.collection, c.operator
        from operator_spectra as c anti join known_operators using (collection, operator)""",
    ),
    Rule(
        "operator_spectra",
        "singular values do not rise with the mode",
        "singular_value, mode",
        """select collection, operator, mode, singular_value from operator_spectra
        qualify singular_value > lag(singular_value) over (partition by collection, operator order by mode) * (1 + 1e-9)""",
    ),
    Rule(
        "compositions",
        "middle_layer is between source and target",
        "source_layer, middle_layer, target_layer",
        """select collection, evaluation, source_layer, middle_layer, target_layer from compositions
        where middle_layer not between source_layer + 1 and target_layer - 1""",
    ),
    Rule(
        "scaling",
        "a larger share of train documents has more tokens",
        "fraction, n_train",
        """select collection, evaluation, source_layer, target_layer, method, fraction, n_train from scaling
        qualify n_train < lag(n_train) over (
            partition by collection, evaluation, source_layer, target_layer, method order by fraction
        )""",
    ),
    Rule(
        "causal_perplexity",
        "operator is in operators",
        "operator",
        """select distinct c.collection, c.operator
        from causal_perplexity as c anti join known_operators using (collection, operator)""",
    ),
    Rule(
        "causal_perplexity",
        "every intervention has its unedited counterpart on the same sequence",
        "intervention, sequence_id",
        """select c.collection, c.evaluation, c.source_layer, c.target_layer, c.intervention, c.sequence_id
        from causal_perplexity as c
        anti join (from causal_perplexity where intervention = 'none')
            using (collection, evaluation, source_layer, target_layer, sequence_id)""",
    ),
    Rule(
        "subspaces",
        "ranks for 90, 95 and 99 % are in order",
        "lts_rank_90, lts_rank_95, lts_rank_99, d_kept",
        """select collection, evaluation, source_layer, target_layer, lts_rank_90, lts_rank_95, lts_rank_99, d_kept
        from subspaces where lts_rank_90 > lts_rank_95 or lts_rank_95 > lts_rank_99 or lts_rank_99 > d_kept
            or lts_rank_90_paper > lts_rank_95_paper or lts_rank_95_paper > lts_rank_99_paper
            or lts_rank_99_paper > d_kept""",
    ),
)


def rules(table: Table) -> Iterator[Rule]:
    """The rules derived from the declaration, then those written for the table."""
    key, names = ", ".join(table.key), {c.name for c in table.columns}
    yield Rule(
        table.name,
        "key is unique",
        key,
        f"select {key}, count(*) as n_rows from {table.name} group by {key} having count(*) > 1",
    )
    if {"source_layer", "leap", "target_layer"} <= names:
        yield Rule(
            table.name,
            "target_layer is source_layer + leap",
            "source_layer, leap, target_layer",
            f"select distinct collection, source_layer, leap, target_layer from {table.name} "
            "where source_layer + leap <> target_layer",
        )
    if "collection" in names and table.name not in ("collections", "stage_runs", "quality_results"):
        yield Rule(
            table.name,
            "collection is in collections",
            "collection",
            f"select distinct t.collection from {table.name} as t anti join known_collections using (collection)",
        )
    yield from (rule for rule in RULES if rule.table == table.name)


def check_rules(
    warehouse: Warehouse, fresh: Sequence[FileRecord], known: Sequence[FileRecord], activations: pa.Table | None
) -> list[Finding]:
    """Check every rule of the tables that ``fresh`` belongs to, reading only the columns a rule names.

    Args:
        fresh: files under check.
        known: files of complete stages that keys may refer to.
        activations: the sample to check of the activations: their columns, ``residual`` replaced by
            ``residual_norm``; None if there are none.
    """
    with duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2}) as connection:
        if isinstance(warehouse.storage, ObjectStorage):
            tables = {f.table_name for f in (*fresh, *known)} - {"artifacts", "activations"}
            connection.register_filesystem(warehouse.storage.snapshot(sorted(tables)))
        _register(connection, warehouse, fresh, known, activations)
        checked = [t for t in TABLES.values() if any(f.table_name == t.name for f in fresh)]
        return [_check(connection, rule) for table in checked for rule in rules(table)]


def _register(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    fresh: Sequence[FileRecord],
    known: Sequence[FileRecord],
    activations: pa.Table | None,
) -> None:
    """Views of the tables that rules name, and the rows of each activations file."""
    for table in TABLES.values():
        if table.name == "activations":
            continue
        for name, files in ((table.name, fresh), (f"known_{table.name}", (*fresh, *known))):
            paths = sorted({f.path for f in files if f.table_name == table.name})
            connection.execute(f"create view {name} as {_select(warehouse, table, paths)}")
    if activations is not None:
        connection.register("activations", activations)
    counts = {f.path: f.rows for f in (*known, *fresh) if f.table_name == "activations"}
    rows = [{**partition_values(TABLES["activations"], path), "n_rows": n} for path, n in counts.items()]
    schema = pa.schema([("collection", pa.string()), ("layer", pa.int32()), ("n_rows", pa.int64())])
    connection.register("activation_files", pa.Table.from_pylist(rows, schema))


def _select(warehouse: Warehouse, table: Table, paths: Sequence[str]) -> str:
    types = {c.name: duckdb_type(c.type) for c in table.columns if c.type is not None}
    if not paths:
        return "select " + ", ".join(f"null::{kind} as {name}" for name, kind in types.items()) + " where false"
    files = ", ".join("'" + warehouse.storage.url(path).replace("'", "''") + "'" for path in paths)
    hive = ", ".join(f"{name}: {types[name]}" for name in table.partition)
    return f"from read_parquet([{files}], hive_partitioning = true, hive_types = {{{hive}}})"


def partition_values(table: Table, path: str) -> dict[str, Any]:
    """Values of the partition columns, which stand in a file's path and not in the file."""
    steps = dict(step.split("=", 1) for step in path.split("/")[1:-1])
    return {name: pa.scalar(steps[name]).cast(table.column(name).type).as_py() for name in table.partition}


def _check(connection: duckdb.DuckDBPyConnection, rule: Rule) -> Finding:
    checked = _value(connection, f"select count(*) from {rule.table}")
    unexpected = _value(connection, f"select count(*) from ({rule.offenders})")
    examples: Iterable[dict[str, Any]] = ()
    if unexpected:
        offenders = f"select * from ({rule.offenders}) order by all limit {MAX_EXAMPLES}"
        examples = connection.sql(offenders).to_arrow_table().to_pylist()
    rows = tuple({name: plain(value) for name, value in row.items()} for row in examples)
    return Finding(rule.table, rule.expectation, rule.column, checked, unexpected, rows)


def _value(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((value,),) = connection.sql(sql).fetchall()
    return int(value)
