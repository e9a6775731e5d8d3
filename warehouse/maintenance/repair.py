"""What a run removes before it makes it again: manifests that cannot be read, and files that are not what was written."""

from warehouse.storage.manifests import PASSED, manifests_and_damage
from warehouse.storage.warehouse import Warehouse


def discard_unreadable(warehouse: Warehouse) -> list[str]:
    """Remove manifests that cannot be read; returns their paths.

    A manifest appears whole, so one that cannot be read is damaged, and tables that it may have fed cannot be asked. Its
    stage counts as never completed; its files are made again, byte for byte, under the same names.
    """
    _, unreadable = manifests_and_damage(warehouse)
    for path in unreadable:
        warehouse.storage.remove(path)
    return unreadable


def discard_altered(warehouse: Warehouse, collection: str) -> list[str]:
    """Remove files of a collection's complete stages that do not have their recorded SHA-256; returns their paths.

    Their stages count as incomplete, so that the next run makes them again. Reads every file.
    """
    runs, _ = manifests_and_damage(warehouse)
    files = [file for run in runs if run.collection == collection and run.quality == PASSED for file in run.files]
    missing = warehouse.damage(files)
    altered = [
        file.path
        for file in files
        if file.path not in missing and warehouse.sha256(file.path) not in (None, file.sha256)
    ]
    for path in altered:
        warehouse.storage.remove(path)
    return altered
