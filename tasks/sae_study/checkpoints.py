"""Where a training that is not finished lies: checkpoint and snapshots, on the machine that trains."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from warehouse.storage.warehouse import Warehouse

FOLDER = "checkpoints"


def training_folder(warehouse: Warehouse, keys: Sequence[str]) -> Path:
    """The folder of one training, made if need be, named by the keys of the SAEs that it trains.

    In a local warehouse it is ``checkpoints/`` beside the tables; of an object store it is in the machine's temporary
    folder, since a checkpoint is written too often to be sent away.
    """
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    if warehouse.storage.is_local:
        folder = Path(warehouse.storage.url(FOLDER), digest)
    else:
        store = hashlib.sha256(warehouse.root.encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir(), f"ato-{FOLDER}", store, digest)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
