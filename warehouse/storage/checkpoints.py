"""Where trainings that are not finished lie: checkpoints and snapshots, on the machine that trains."""

import hashlib
import tempfile
import time
from pathlib import Path

from warehouse.storage.warehouse import Warehouse

FOLDER = "checkpoints"


def checkpoints_folder(warehouse: Warehouse) -> Path:
    """The folder with a folder for each training; it need not exist.

    In a local warehouse it is ``checkpoints/`` beside the tables; of an object store it is in the machine's temporary
    folder, since a checkpoint is written too often to be sent away.
    """
    if warehouse.storage.is_local:
        return Path(warehouse.storage.url(FOLDER))
    store = hashlib.sha256(warehouse.root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"ato-{FOLDER}", store)


def idle_checkpoints(warehouse: Warehouse, older_than: float) -> dict[str, int]:
    """Absolute path -> bytes of the folders of trainings in which nothing has changed for ``older_than`` seconds."""
    base, found = checkpoints_folder(warehouse), {}
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        statuses = [path.stat() for path in (folder, *folder.rglob("*"))]
        files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        if time.time() - max(status.st_mtime for status in statuses) > older_than:
            found[str(folder)] = sum(files)
    return found
