"""The storage of a warehouse: a local folder or an object store; both publish files atomically."""

from pathlib import Path

from warehouse.storage.local_storage import LocalStorage
from warehouse.storage.object_storage import ObjectStorage

Storage = LocalStorage | ObjectStorage


def open_storage(root: str | Path) -> Storage:
    """The storage of a root: a URL with a scheme is an object store, all else a local folder."""
    text = str(root)
    if text.startswith("file://"):
        return LocalStorage(text.removeprefix("file://"))
    return ObjectStorage(text) if "://" in text else LocalStorage(root)
