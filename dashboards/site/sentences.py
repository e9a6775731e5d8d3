"""The findings of a study in words, as a table of the site."""

from collections.abc import Collection, Sequence

import duckdb
import pyarrow as pa

MEANING = "one finding in words, made from the rows of the mart findings"
COLUMNS = {
    "collection": "VARCHAR",
    "place": "INTEGER",
    "topic": "VARCHAR",
    "sentence": "VARCHAR",
    "page": "VARCHAR",
    "finding": "VARCHAR",
}
"""Column -> type of DuckDB."""


def finding_sentences(
    connection: duckdb.DuckDBPyConnection, known: Collection[str], collections: Sequence[str]
) -> pa.Table | None:
    """A row for each finding of each collection, in order; None for a warehouse without the mart ``findings``."""
    if "findings" not in known:
        return None
    from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of

    rows = []
    for collection in collections:
        numbers = connection.sql(OF_COLLECTION, params={"collection": collection}).pl().to_dicts()
        rows += [
            (collection, place, finding.topic, finding.text, finding.page, finding.name)
            for place, finding in enumerate(findings_of(numbers))
        ]
    types = {"VARCHAR": pa.string(), "INTEGER": pa.int32()}
    values = list(zip(*rows)) if rows else [()] * len(COLUMNS)
    return pa.table({n: pa.array(v, types[t]) for (n, t), v in zip(COLUMNS.items(), values, strict=True)})
