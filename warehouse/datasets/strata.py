"""The strata of a collection's documents, as the table ``document_strata`` has them."""

from collections import Counter
from collections.abc import Mapping

from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

MIN_DOCUMENTS = 5
"""Documents of a collection below which a value is rare: too few to compare anything by. ``strata_counts`` marks such values."""


def strata_of(warehouse: Warehouse, collection: str, key: str | None = None) -> dict[str, dict[int, str]]:
    """Stratum -> number of a document within the collection -> its value; documents without one are left out.

    Args:
        warehouse: that has the collection.
        collection: key.
        key: of the strata, as ``document_strata`` returns it; default: those that were read last.
    """
    table, own = ("latest_strata", "") if key is None else ("document_strata", "and strata = ?")
    sql = f"select stratum, document, value from {table} where collection = ? {own} order by stratum, document"
    found: dict[str, dict[int, str]] = {}
    for row in rows(warehouse, sql, [collection, *([] if key is None else [key])]):
        of_stratum = found.setdefault(row["stratum"], {})
        if row["value"] is not None:
            of_stratum[row["document"]] = row["value"]
    return found


def frequent(values: Mapping[int, str], least: int = MIN_DOCUMENTS) -> dict[int, str]:
    """The documents of one stratum whose value at least so many of them have."""
    counts = Counter(values.values())
    return {document: value for document, value in values.items() if counts[value] >= least}
