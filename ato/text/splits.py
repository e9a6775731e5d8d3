"""Splits by document: train folds, val and test, decided by the hash of a document alone."""

import hashlib
from collections.abc import Collection
from functools import cache

import numpy as np

SPLIT_TENTHS = {"train": 6, "val": 8, "test": 10}
"""Upper ends of the splits, in tenths of the range of the document hash."""


def assign_split(document_id: str, seed: int, n_folds: int) -> tuple[str, int | None]:
    """Split (60 % train, 20 % val, 20 % test) and train fold of a document, from its hash and the seed alone.

    The split is decided by the highest digits of SHA-256(``seed:document_id``), the fold by its last 8 bytes.
    """
    digest = hashlib.sha256(f"{seed}:{document_id}".encode()).digest()
    value = int.from_bytes(digest)
    split = next(name for name, tenths in SPLIT_TENTHS.items() if 10 * value < tenths << 256)
    return split, int.from_bytes(digest[-8:]) % n_folds if split == "train" else None


@cache
def group_names(n_folds: int) -> tuple[str, ...]:
    """Names of the token groups that statistics are kept for: the train folds, then ``val`` and ``test``."""
    return (*(f"train-{fold}" for fold in range(n_folds)), "val", "test")


def in_splits(group: np.ndarray, splits: Collection[str] | None, n_folds: int) -> np.ndarray:
    """Mask [n] of the rows whose group belongs to one of the splits (all rows when splits is None)."""
    if splits is None:
        return np.ones(len(group), dtype=bool)
    wanted = [i for i, name in enumerate(group_names(n_folds)) if name.split("-")[0] in splits]
    return np.isin(group, wanted)
