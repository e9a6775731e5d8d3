"""The one module of the dashboard that writes: changes of lists and notes; all else only reads the warehouse.

It refuses where ``ATO_READ_ONLY=1`` is in the environment, and where the warehouse cannot be written.
"""

from collections.abc import Callable, Sequence

from ato.errors import AtoError
from dashboards.ui.reading import renew_lists
from warehouse.lists import changes
from warehouse.lists.items import Item, find_items
from warehouse.storage.warehouse import Warehouse


def why_read_only() -> str | None:
    """Why nothing can be changed here, in one line; None if it can."""
    try:
        changes.check_changeable(Warehouse())
    except AtoError as error:
        return str(error)
    return None


def set_lists(collection: str, name: str, before: Sequence[str], after: Sequence[str]) -> str | None:
    """Put an item on the lists of ``after`` that are not in ``before``, and take it off the others of ``before``.

    Args:
        collection: of the item.
        name: of the item, as ``find_items`` reads it.
        before: lists that it was on, as the reader saw them.
        after: lists that it is to be on; a new name makes a list.

    Returns:
        What went wrong, in one line; None if nothing did.
    """

    def change(warehouse: Warehouse, items: list[Item]) -> None:
        for one in after:
            if one not in before:
                changes.add(warehouse, one, items)
        for one in before:
            if one not in after:
                changes.remove(warehouse, one, items)

    return _done(collection, name, change)


def write_note(collection: str, name: str, text: str) -> str | None:
    """Note something on an item; arguments and result as in ``set_lists``."""
    return _done(collection, name, lambda warehouse, items: changes.note(warehouse, items[0], text))


def remove_note(collection: str, name: str, key: str) -> str | None:
    """Take a note back; arguments and result as in ``set_lists``."""
    return _done(collection, name, lambda warehouse, items: changes.take_back(warehouse, key))


def _done(collection: str, name: str, change: Callable[[Warehouse, list[Item]], object]) -> str | None:
    try:
        warehouse = Warehouse()
        change(warehouse, find_items(warehouse, collection, [name]))
    except AtoError as error:
        return str(error)
    finally:
        renew_lists()
    return None
