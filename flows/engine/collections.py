"""Which collection a command is about."""

from collections.abc import Sequence

from ato.errors import InputError
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse


def chosen_collection(key: str | None = None, committed: Sequence[str] = ()) -> str:
    """The collection with that key; default: the one that was completed last.

    Args:
        key: of the collection.
        committed: names of stages; without a key it is the collection for which one of them was completed last, if there is
            any: other collections may have been made since, only to be compared with it.

    Raises:
        InputError: there is none.
    """
    warehouse = Warehouse()
    known = [row["collection"] for row in rows(warehouse, "select collection from collections order by created_at")]
    if not known:
        raise InputError("no collection yet", where=warehouse.root, cure="start with `ato run pipeline --profile demo`")
    if key is not None and key not in known:
        raise InputError(f"no collection {key!r}", where=warehouse.root, cure=f"choose from {', '.join(known)}")
    return key or _last_with(warehouse, committed) or known[-1]


def _last_with(warehouse: Warehouse, committed: Sequence[str]) -> str | None:
    sql = """select collection from stage_runs where list_contains(?, stage) and quality = 'passed'
        order by started_at desc, collection limit 1"""
    found = rows(warehouse, sql, [list(committed)]) if committed else []
    return found[0]["collection"] if found else None
