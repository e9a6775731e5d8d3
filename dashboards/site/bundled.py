"""The libraries that a site brings along, as ``tools/browser_libraries.py`` left them in ``libraries/``."""

import gzip
import hashlib
import json
import lzma
from importlib import resources
from pathlib import Path

from ato.errors import DataError

COMPRESSED = ("duckdb.wasm", "parquet.wasm")
"""Written with gzip: the browser inflates them, whatever the server does."""


def versions() -> dict[str, str]:
    """npm package -> version."""
    found: dict[str, str] = _listed()["versions"]
    return found


def write_libraries(folder: Path) -> None:
    """Write the libraries and their licences into a folder.

    Raises:
        DataError: a file is not the one that was bundled.
    """
    for name, sha256 in _listed()["files"].items():
        content = lzma.decompress(_folder().joinpath(f"{name}.xz").read_bytes())
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(f"{name}.xz is damaged", where=_folder(), cure="install the package again")
        if name in COMPRESSED:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        else:
            (folder / name).write_bytes(content)


def _folder() -> resources.abc.Traversable:
    return resources.files("dashboards").joinpath("site", "libraries")


def _listed() -> dict[str, dict[str, str]]:
    listed: dict[str, dict[str, str]] = json.loads(_folder().joinpath("libraries.json").read_text(encoding="utf-8"))
    return listed
