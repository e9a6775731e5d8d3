"""Writes a study as a static site: pages, their data as Parquet, and the libraries that read them in the browser.

The folder is complete or as it was: the site is written beside it and takes its place in the end.
"""

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path

import duckdb
import pyarrow as pa

from ato.errors import InputError
from dashboards.site import graphs, sentences, texts
from dashboards.site.bundled import versions, write_libraries
from dashboards.site.declarations import described
from dashboards.site.pages import pages
from dashboards.site.tables import PublishedTable, has_rows, known_tables, wanted_tables, write_rows, write_table
from dashboards.views.graphs.viewer import viewer_files
from warehouse.catalog.catalog import connect
from warehouse.catalog.sql_errors import running
from warehouse.storage.staging import disk_full_reported, staging_name
from warehouse.tables import SCHEMA_VERSION

MADE_BY = "ato publish"
APP = (
    "address.js",
    "charts.js",
    "choices.js",
    "compare.js",
    "database.js",
    "elements.js",
    "graph.js",
    "main.js",
    "panels.js",
    "site.css",
    "sql.js",
    "tables.js",
)
PARTS = {"pages": ("app", "index.html", "site.json"), "data": ("data",), "libraries": ("libraries",)}
"""Part of a site -> its files and folders."""


@dataclass(frozen=True)
class Site:
    """A site that was written."""

    folder: Path
    bytes: dict[str, int]
    """Part -> its size: pages, data and libraries."""
    tables: tuple[PublishedTable, ...]


def write_site(
    folder: str | Path,
    collections: Sequence[str],
    *,
    with_text: bool = True,
    at: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Site:
    """Write the site of some collections of the warehouse; a site that was there is replaced.

    Args:
        folder: where; new, empty or an earlier site.
        collections: their keys; the first is shown at first.
        with_text: whether windows of the corpus are published.
        at: told what is being written, and how many of how many steps are done.

    Raises:
        InputError: the folder has other files.
        DamagedFileError: a file of the warehouse cannot be read; the folder is as it was.
        DiskFullError: no space left; the folder is as it was.
    """
    folder = Path(folder).absolute()
    _check(folder)
    staging = folder.with_name(staging_name(folder.name))
    try:
        with disk_full_reported(folder, elsewhere="name a folder"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            tables = _write(staging, collections, with_text, at)
            _replace(folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Site(folder, {part: sum(_bytes(folder / n) for n in names) for part, names in PARTS.items()}, tables)


def _check(folder: Path) -> None:
    """Refuse to replace what is not a site of ours."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        made_by = json.loads((folder / "site.json").read_text(encoding="utf-8")).get("made_by")
    except (OSError, ValueError, AttributeError):
        made_by = None
    if made_by != MADE_BY:
        raise InputError(
            "the folder has other files than a site",
            where=folder,
            cure="name a new or empty folder, or an earlier site",
        )


def _write(
    folder: Path, collections: Sequence[str], with_text: bool, at: Callable[[str, int, int], None]
) -> tuple[PublishedTable, ...]:
    for part in ("app", "data", "libraries"):
        (folder / part).mkdir(parents=True)
    with connect(threads=1) as connection, running(connection):
        known = known_tables(connection)
        own = _own_tables(connection, known, collections, with_text)
        offered = pages([*known, *own], with_text, len(collections) > 1)
        declared = [
            page for page in offered if page.needs is None or has_rows(connection, page.needs, known, collections)
        ]
        names = wanted_tables(declared, known)
        written = []
        for done, name in enumerate(names):
            at(name, done, len(names) + 1)
            written.append(write_table(connection, name, known[name], collections, folder))
    for name, table in own.items():
        written.append(write_rows(*table, name, folder))
    at("libraries", len(names), len(names) + 1)
    write_libraries(folder / "libraries")
    app = resources.files("dashboards").joinpath("site", "app")
    for name in APP:
        (folder / "app" / name).write_bytes(app.joinpath(name).read_bytes())
    for suffix, text in viewer_files().items():
        (folder / "app" / f"viewer.{suffix}").write_text(text, encoding="utf-8")
    (folder / "index.html").write_bytes(app.joinpath("index.html").read_bytes())
    meanings = {
        table.name: {name: value for name, value in asdict(table).items() if name not in ("name", "bytes")}
        for table in written
    }
    site = {
        "made_by": MADE_BY,
        "version": metadata.version("ato-platform"),
        "schema_version": SCHEMA_VERSION,
        "libraries": versions(),
        "with_text": with_text,
        "collections": list(collections),
        "pages": [described(page) for page in declared],
        "tables": meanings,
    }
    text = json.dumps(site, ensure_ascii=False, separators=(",", ":"))
    (folder / "site.json").write_text(text + "\n", encoding="utf-8")
    return tuple(written)


def _own_tables(
    connection: duckdb.DuckDBPyConnection, known: Collection[str], collections: Sequence[str], with_text: bool
) -> dict[str, tuple[pa.Table, str, list[str]]]:
    """Tables that no mart holds: name -> rows, meaning and types."""
    made = {
        "finding_sentences": (sentences.finding_sentences, sentences.MEANING, sentences.COLUMNS),
        "graph_edge_influence": (graphs.edge_influence, graphs.MEANING, graphs.COLUMNS),
    }
    if with_text:
        made[texts.NAME] = (texts.example_texts, texts.MEANING, texts.COLUMNS)
    found = {
        name: (make(connection, known, collections), meaning, types) for name, (make, meaning, types) in made.items()
    }
    return {
        name: (rows, meaning, list(types.values()))
        for name, (rows, meaning, types) in found.items()
        if rows is not None
    }


def _replace(folder: Path, staging: Path) -> None:
    """Put the new site where the old one is."""
    old = folder.with_name(staging_name(f"old-{folder.name}"))
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
