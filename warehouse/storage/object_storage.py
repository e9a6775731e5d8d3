"""The warehouse in an object store: a file is staged on this machine, and one PUT publishes it whole."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ato.errors import InputError
from warehouse.storage.staging import (
    Digest,
    Entry,
    Finish,
    StagedPublishing,
    Write,
    disk_full_reported,
    file_sha256,
    left_behind,
    staging_name,
)


class ObjectStorage(StagedPublishing):
    """Objects below a prefix of an fsspec filesystem (``s3://bucket/prefix``): one PUT publishes an object whole."""

    is_local = False

    def __init__(self, root: str):
        import fsspec

        try:
            # Without a cache of listings: other processes write here too.
            self.filesystem, prefix = fsspec.core.url_to_fs(root, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(f"cannot open the warehouse: {error}", where=root, cure="pip install s3fs") from error
        self._prefix = prefix.rstrip("/")
        self.root = self.filesystem.unstrip_protocol(self._prefix)

    def check_writable(self) -> None:
        """Nothing: the first write says whether the store allows it."""

    def snapshot(self, folders: Iterable[str]) -> Any:
        """A filesystem with a cached listing of some folders.

        DuckDB asks for file sizes often; without the cache, each would be a request to the store.
        """
        options = self.filesystem.storage_options | {"use_listings_cache": True, "skip_instance_cache": True}
        found = type(self.filesystem)(**options)
        for folder in folders:
            found.find(self._key(folder))
        return found

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def url(self, path: str) -> str:
        """Address of a file for DuckDB and Arrow."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """A file, for reading by Arrow."""
        return self.filesystem.open(self._key(path), "rb")

    def read(self, path: str) -> bytes | None:
        """The whole object; None if there is none."""
        try:
            return self.filesystem.cat_file(self._key(path))
        except FileNotFoundError:
            return None

    def put(self, path: str, data: bytes) -> None:
        """Publish bytes under a name with one PUT."""
        self.filesystem.pipe_file(self._key(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Publish bytes under a new name; False if it exists (decided by the store: If-None-Match)."""
        try:
            self.filesystem.pipe_file(self._key(path), data, mode="create")
        except FileExistsError:
            return False
        return True

    def stage(
        self,
        path: str,
        write: Write,
        need: int | None = None,
        digest: Digest = file_sha256,
    ) -> Finish:
        """The part of ``publish`` that takes the processor; what is returned waits for the store."""
        with ExitStack() as undo:
            folder = undo.enter_context(self.scratch(path))
            undo.enter_context(disk_full_reported(folder, need))
            staging = folder / path.split("/")[-1]
            write(staging)
            size, sha256 = staging.stat().st_size, digest(staging)
            kept = undo.pop_all()

        def finish() -> tuple[int, str]:
            with kept:
                # One PUT, or for a large file parts that appear together: either way whole or not at all.
                self.filesystem.put_file(str(staging), self._key(path))
            return size, sha256

        return finish

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty temporary local folder, for files to publish."""
        with tempfile.TemporaryDirectory(prefix=staging_name("ato-")) as folder:
            yield Path(folder)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each existing object."""
        wanted = set(paths)
        found = self._sizes_below({path.split("/")[0] for path in wanted})
        return {path: found[path] for path in wanted & found.keys()}

    def _sizes_below(self, folders: Iterable[str]) -> dict[str, int]:
        found = {}
        for folder in folders:
            # One listing a table instead of one request a file.
            for key, entry in self.filesystem.find(self._key(folder), detail=True).items():
                found[key.removeprefix(self._prefix).lstrip("/")] = entry["size"]
        return found

    def names(self, folder: str) -> list[str]:
        """Paths of all objects below a folder, sorted."""
        return sorted(self._sizes_below([folder]))

    def entries(self, below: str = "") -> dict[str, Entry]:
        """Every object (below a folder) with its size and age."""
        found = {}
        for key, entry in self.filesystem.find(self._key(below).rstrip("/"), detail=True).items():
            modified = entry.get("LastModified") or entry.get("created") or entry.get("updated")
            age = modified.timestamp() if hasattr(modified, "timestamp") else time.time()
            found[key.removeprefix(self._prefix).lstrip("/")] = Entry(entry["size"], age)
        return found

    def remove(self, path: str) -> None:
        """Remove an object, if it exists."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self._key(path))

    def leftovers(self) -> dict[str, int]:
        """Temporary folders of dead processes on this machine; a PUT leaves nothing in the store."""
        temporary = Path(tempfile.gettempdir())
        return left_behind(temporary, os.listdir(temporary))
