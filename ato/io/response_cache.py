"""Responses kept on disk: one file per request, with the body and its SHA-256, written whole or not at all."""

import errno
import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ato.errors import DiskFullError, UnavailableError

_DIGEST_BYTES = 64
"""The file begins with the body's SHA-256 in hex and a line feed; the body follows."""


class ResponseCache:
    """Bodies of responses, found again by the request that they answer.

    A request is identified by its text (method, address, body; never headers, so never a key). A truncated or altered
    file does not match its own digest and counts as absent. Safe for several threads and processes: files appear by
    renaming.

    Args:
        folder: where the files go; created on first use.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)

    def path(self, request: str) -> Path:
        """The file of the response to a request, whether it exists or not."""
        name = hashlib.sha256(request.encode()).hexdigest()
        return self._folder / name[:2] / name

    def get(self, request: str) -> bytes | None:
        """The cached body for a request; None if there is none or its file is damaged."""
        try:
            data = self.path(request).read_bytes()
        except OSError:
            return None
        digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES + 1 :]
        return body if digest == hashlib.sha256(body).hexdigest().encode() else None

    def put(self, request: str, body: bytes) -> None:
        """Cache a body.

        Raises:
            DiskFullError: no space left.
            UnavailableError: the folder cannot be written to.
        """
        path = self.path(request)
        staging = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".staging-", delete=False) as file:
                staging = file.name
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(staging, path)
        except OSError as error:
            if staging is not None:
                Path(staging).unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError("no space left to cache a response", where=path, cure="free some space") from error
            raise UnavailableError(f"cannot cache a response: {error.strerror}", where=path) from error

    def remove_older(self, seconds: float) -> None:
        """Remove the bodies that were cached longer ago than this, as far as the folder lets us."""
        for path in self._folder.glob("*/*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > seconds:
                    path.unlink()
