"""JSON files of graphs: read with one-line errors, written whole or not at all, equal contents giving equal bytes."""

import errno
import json
from pathlib import Path
from typing import Any

from ato.errors import DamagedFileError, DiskFullError, InputError, UnavailableError
from ato.io.atomic_file import atomic_file


def read_json(path: Path | str, kind: type) -> Any:
    """The content of a file.

    Args:
        path: the file.
        kind: what it must hold: dict or list.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it holds no JSON, or something else.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, cure="check the path") from None
    except (OSError, ValueError) as error:
        raise DamagedFileError("the file holds no JSON", where=path, cure="write it again") from error
    if not isinstance(content, kind):
        raise DamagedFileError(f"the file holds no {kind.__name__}", where=path, cure="write it again")
    return content


def json_bytes(content: Any) -> bytes:
    """Compact UTF-8; infinities and NaN are refused by ValueError, as no reader takes them."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_json(path: Path | str, content: Any) -> Path:
    """Write a file, replacing what was there in one step.

    Raises:
        DiskFullError: no space left.
        UnavailableError: the folder cannot be written to.
    """
    path = Path(path)
    try:
        with atomic_file(path) as file:
            file.write(json_bytes(content))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError("no space left for a graph", where=path, cure="free some space") from error
        raise UnavailableError(f"cannot write a graph: {error.strerror}", where=path) from error
    return path
