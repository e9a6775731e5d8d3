"""Which collection a command is about."""

from ato.errors import InputError
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse


def chosen_collection(key: str | None = None) -> str:
    """The collection with that key; default: the one that was completed last.

    Raises:
        InputError: there is none.
    """
    warehouse = Warehouse()
    known = [row["collection"] for row in rows(warehouse, "select collection from collections order by created_at")]
    if not known:
        raise InputError("no collection yet", where=warehouse.root, cure="start with `ato run pipeline --profile demo`")
    if key is not None and key not in known:
        raise InputError(f"no collection {key!r}", where=warehouse.root, cure=f"choose from {', '.join(known)}")
    return key or known[-1]
