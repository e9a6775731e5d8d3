"""The folder of one training that is not finished: checkpoint and snapshots."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from warehouse.storage.checkpoints import checkpoints_folder
from warehouse.storage.warehouse import Warehouse


def training_folder(warehouse: Warehouse, keys: Sequence[str]) -> Path:
    """It is made if need be, and named by the keys of the SAEs that are trained (see ``checkpoints_folder``)."""
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    folder = checkpoints_folder(warehouse) / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder
