"""Files that are there whole or not at all, and without leftovers of those before."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes its name when the block ends; if the block raises, nothing is left of it.

    Its folder is created. Several processes may write the same path: the last one wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with staging.open("wb") as file:
            yield file
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def remove_others(folder: str | Path, pattern: str, kept: Collection[str]) -> None:
    """Remove the files of a folder that fit a pattern, such as ``batch-*.json``, but those of these names."""
    for path in Path(folder).glob(pattern):
        if path.name not in kept:
            path.unlink(missing_ok=True)
