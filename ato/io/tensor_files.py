"""Named arrays with typed metadata in one safetensors file: how operators and moments are stored. Never pickle."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ato.errors import DamagedFileError, InputError

_OPEN_ARRAYS = 32
"""Arrays read before a file is closed and opened again."""


class _Digest:
    """SHA-256 over names, shapes, types and bytes of arrays, taken in the order of their names."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        self._sha256.update(f"{name}{array.shape}{array.dtype}".encode())
        self._sha256.update(array.data)

    def __str__(self) -> str:
        return self._sha256.hexdigest()


def write_tensors(path: str | Path, kind: str, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write arrays and JSON metadata to ``path``; equal contents give equal bytes.

    Args:
        path: file to write (whole; making it appear atomically is the caller's work).
        kind: what the file holds, checked on reading.
        arrays: name -> array.
        metadata: JSON values.
    """
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digest = _Digest()
    for name in sorted(contiguous):
        digest.add(name, contiguous[name])
    header = json.dumps({"kind": kind, "sha256": str(digest), **metadata}, sort_keys=True)
    save_file(contiguous, str(path), metadata={"ato": header})


def read_tensors(
    path: str | Path, kind: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a file written by ``write_tensors``.

    Args:
        path: the file.
        kind: what it is to hold.
        wanted: which arrays to keep, by name; the others are checked too, but never in memory together.

    Raises:
        InputError: there is no such file.
        DamagedFileError: the file is truncated, altered or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    article = "an" if kind[0] in "aeiou" else "a"
    arrays, digest = {}, _Digest()
    if not Path(path).is_file():
        raise InputError(f"no {kind} file", where=path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("ato", "{}"))
            if not isinstance(header, dict) or header.get("kind") != kind:
                raise DamagedFileError(f"the file does not contain {article} {kind}", where=path)
            names = sorted(file.keys())
        # The file is mapped, and what was read of it stays in memory until it is closed: a part of it at a time.
        for start in range(0, len(names), _OPEN_ARRAYS):
            with safe_open(str(path), framework="numpy") as file:
                for name in names[start : start + _OPEN_ARRAYS]:
                    array = file.get_tensor(name)
                    digest.add(name, array)
                    if wanted(name):
                        arrays[name] = array
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        raise DamagedFileError(f"not a readable {kind} ({error})", where=path, cure="write it again") from None
    if header.pop("sha256", None) != str(digest):
        raise DamagedFileError(f"the {kind} was altered after it was written", where=path, cure="write it again")
    return arrays, header
