"""Named arrays with typed metadata in one safetensors file: how operators and moments are stored. Never pickle."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ato.errors import DamagedFileError, InputError


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.data)
    return digest.hexdigest()


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
    header = json.dumps({"kind": kind, "sha256": _digest(contiguous), **metadata}, sort_keys=True)
    save_file(contiguous, str(path), metadata={"ato": header})


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a file written by ``write_tensors``.

    Raises:
        InputError: there is no such file.
        DamagedFileError: the file is truncated, altered or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    article = "an" if kind[0] in "aeiou" else "a"
    if not Path(path).is_file():
        raise InputError(f"no file that holds {article} {kind}", where=path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("ato", "{}"))
            # The file object has keys() but cannot be iterated.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        raise DamagedFileError(f"not a readable {kind} ({error})", where=path, cure="write it again") from None
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise DamagedFileError(f"the file does not hold {article} {kind}", where=path)
    if header.pop("sha256", None) != _digest(arrays):
        raise DamagedFileError(f"the {kind} was altered after it was written", where=path, cure="write it again")
    return arrays, header
