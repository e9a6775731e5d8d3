"""What a run removes before it makes it again: manifests that cannot be read, and files that are not what was written."""

from warehouse.catalog.contents import manifest_owner
from warehouse.storage.manifests import PASSED, manifests_and_damage
from warehouse.storage.warehouse import Warehouse


def discard_unreadable(warehouse: Warehouse, collection: str) -> list[str]:
    """Remove a collection's manifests that cannot be read; returns their paths.

    A manifest appears whole, so one that cannot be read is damaged, and tables that it may have fed cannot be asked. Its
    stage counts as never completed; its files are made again, byte for byte, under the same names. Those of other
    collections stay: without them, queries would lack rows and say nothing, as nobody rebuilds them here.
    """
    _, unreadable = manifests_and_damage(warehouse)
    own = [path for path in unreadable if manifest_owner(warehouse, path) == collection]
    for path in own:
        warehouse.storage.remove(path)
    return own


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
