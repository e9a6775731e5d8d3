"""The sequences that examples are from, as a table of the site: other text of the corpus is not published."""

from collections.abc import Collection, Sequence

import duckdb
import pyarrow as pa

NAME = "example_texts"
MEANING = "a sequence of the train text that an example of a feature is from"
COLUMNS = {"collection": "VARCHAR", "sequence_id": "BIGINT", "document": "BIGINT", "text": "VARCHAR"}
"""Column -> type of DuckDB."""


def example_texts(
    connection: duckdb.DuckDBPyConnection, known: Collection[str], collections: Sequence[str]
) -> pa.Table | None:
    """A row for each sequence; None for a warehouse without examples."""
    if not {"sequences", "feature_examples"} <= set(known):
        return None
    listed = ", ".join(f"{name}::{kind} as {name}" for name, kind in COLUMNS.items())
    sql = f"""select {listed}
from sequences
semi join feature_examples using (collection, sequence_id)
where list_contains($keys, collection)
order by all"""
    return connection.sql(sql, params={"keys": list(collections)}).to_arrow_table()
