"""SHA-256 of files, remembered within the process for files that have not changed."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; read again only if its size or modification time changed."""
    resolved = Path(path).resolve()
    status = resolved.stat()
    return _sha256(resolved, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256, 64 hex digits, over the sorted lines: the same whatever order they come in."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
