"""The warehouse in a local folder: files are staged beside their target, flushed and renamed."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import finalize

from ato.errors import InputError, UnavailableError
from warehouse.storage.staging import (
    STAGING,
    Digest,
    Entry,
    Finish,
    StagedPublishing,
    Write,
    disk_full_reported,
    file_sha256,
    left_behind,
    staging_name,
    sync,
)

_PATTERN = re.compile(r"[*?\[{]")


class LocalStorage(StagedPublishing):
    """Files below a local folder; paths are relative to it, with forward slashes."""

    is_local = True

    def __init__(self, root: str | Path):
        self.root = str(Path(root).expanduser().absolute())
        self._check_folder()

    def _check_folder(self) -> None:
        """Raise InputError for a root that is not, and cannot become, a folder whose files can be read."""
        nearest = next(step for step in (Path(self.root), *Path(self.root).parents) if os.path.lexists(step))
        cure = "point ATO_WAREHOUSE at a folder"
        if not os.path.isdir(nearest):
            kind = (
                "a link to nothing" if nearest.is_symlink() and not os.path.exists(nearest) else "a file, not a folder"
            )
            raise InputError(f"the warehouse cannot be opened, {nearest} is {kind}", where=self.root, cure=cure)
        if not os.access(nearest, os.R_OK | os.X_OK):
            raise InputError(f"the warehouse cannot be opened, {nearest} cannot be read", where=self.root, cure=cure)
        if "\\" in self.root and _PATTERN.search(self.root):
            what = "DuckDB cannot name files below a folder with a backslash and one of * ? [ {"
            raise InputError(what, where=self.root, cure="rename the folder, or open it through a link")

    def check_writable(self) -> None:
        """Raise UnavailableError if no file can be created: permissions alone do not reveal read-only file systems."""
        nearest = next(step for step in (Path(self.root), *Path(self.root).parents) if step.exists())
        try:
            with tempfile.TemporaryFile(dir=nearest):
                return
        except OSError as error:
            raise UnavailableError(
                f"the warehouse cannot be written: {error.strerror}",
                where=self.root,
                cure="point ATO_WAREHOUSE at a folder of your own",
            ) from error

    def url(self, path: str) -> str:
        """Address of a file for DuckDB and Arrow."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """A file, for reading by Arrow."""
        return self.url(path)

    def read(self, path: str) -> bytes | None:
        """The whole file; None if there is none."""
        try:
            return Path(self.url(path)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, path: str, data: bytes) -> None:
        """Publish bytes under a name; errors as in ``publish``."""
        self.publish(path, lambda staging: staging.write_bytes(data))

    def stage(
        self,
        path: str,
        write: Write,
        need: int | None = None,
        digest: Digest = file_sha256,
    ) -> Finish:
        """Write and hash a staging file beside the target; what is returned flushes it to the disk, then renames it."""
        target = Path(self.url(path))
        staging = target.with_name(staging_name(target.name))
        with disk_full_reported(target, need):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write(staging)
                size, sha256 = staging.stat().st_size, digest(staging)
            except BaseException:
                staging.unlink(missing_ok=True)
                raise

        def finish() -> tuple[int, str]:
            with disk_full_reported(target, need):
                try:
                    sync(staging)
                    os.replace(staging, target)
                except BaseException:
                    staging.unlink(missing_ok=True)
                    raise
                sync(target.parent)
            return size, sha256

        finalize(finish, staging.unlink, missing_ok=True)  # where nobody asks for it any more, as after an error
        return finish

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty temporary folder on the disk of ``path``, for files to publish."""
        target = Path(self.url(path))
        folder = target.with_name(staging_name(target.name))
        with disk_full_reported(target):
            try:
                folder.mkdir(parents=True)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each existing file."""
        found = {}
        for path in paths:
            try:
                found[path] = os.stat(self.url(path)).st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def names(self, folder: str) -> list[str]:
        """Paths of all published files below a folder, sorted."""
        base = Path(self.url(folder))
        found = (p for p in base.rglob("*") if not p.name.startswith(STAGING) and p.is_file())
        return sorted(f"{folder}/{p.relative_to(base).as_posix()}" for p in found)

    def entries(self, below: str = "") -> dict[str, Entry]:
        """Every published file (below a folder) with its size and age."""
        base = Path(self.root)
        found = {}
        for folder, folders, files in os.walk(base / below):
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
            for path in (Path(folder, name) for name in files if not name.startswith(STAGING)):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found[path.relative_to(base).as_posix()] = Entry(
                        status.st_size // max(1, status.st_nlink), status.st_mtime
                    )
        return found

    def remove(self, path: str) -> None:
        """Remove a file, if it exists, and the folders that become empty below the table's."""
        Path(self.url(path)).unlink(missing_ok=True)
        steps = path.split("/")[:-1]
        with suppress(OSError):  # not empty
            while len(steps) > 2 or (len(steps) == 2 and steps[1].startswith("collection=")):
                os.rmdir(self.url("/".join(steps)))
                steps.pop()

    def leftovers(self) -> dict[str, int]:
        """Staging files and folders of dead processes, with their bytes."""
        beside = Path(self.root).parent  # where the registry's database is made
        found = left_behind(beside, os.listdir(beside)) if beside.is_dir() else {}
        for folder, folders, files in os.walk(self.root):
            found |= left_behind(Path(folder), folders + files)
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
        return found
