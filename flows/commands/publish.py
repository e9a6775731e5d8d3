"""``ato publish``: the study as a static site."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ato.errors import InputError
from tasks.engine.progress import Progress, say
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from dashboards.site.tables import PublishedTable
    from dashboards.site.writer import Site

LARGEST = 3
"""Tables whose sizes are printed."""


def publish_site(folder: Path, collections: list[str], *, with_text: bool = True) -> "Site":
    """Write the site, and print where it is, how large its parts are and how to serve it.

    Args:
        folder: new or empty, or an earlier site.
        collections: keys, the first is shown at first; empty: all, the latest first.
        with_text: whether windows of the corpus are published.

    Raises:
        InputError: no such collection, or the folder has other files.
    """
    from streamlit.logger import set_log_level

    set_log_level("ERROR")  # the pages share statements with those of Streamlit, which says that it does not run
    from dashboards.site.writer import write_site

    keys = _chosen(collections)
    with Progress("publish", 100, "%", "the site") as progress:

        def at(name: str, done: int, total: int) -> None:
            progress.reach(100 * done / total)

        site = write_site(folder, keys, with_text=with_text, at=at)
    parts = ", ".join(f"{part} {_megabytes(size)}" for part, size in site.bytes.items())
    say("publish", f"{_megabytes(sum(site.bytes.values()))}: {parts}; largest tables: {_largest(site.tables)}")
    if not with_text:
        say(
            "publish", "text of the corpus is left out; labels, which are written about it, and promoted tokens are not"
        )
    say("publish", f"look at it: python -m http.server --directory {site.folder}; or copy the folder to any web server")
    print(site.folder)
    return site


def _chosen(collections: list[str]) -> list[str]:
    """The named collections, each once; by default all, the latest first."""
    warehouse = Warehouse()
    newest_first = "select collection from collections order by created_at desc, collection"
    known = [row["collection"] for row in rows(warehouse, newest_first)]
    if not known:
        raise InputError("no collection yet", where=warehouse.root, cure="start with `ato run pipeline --profile demo`")
    for key in collections:
        if key not in known:
            raise InputError(f"no collection {key!r}", where=warehouse.root, cure=f"choose from {', '.join(known)}")
    return list(dict.fromkeys(collections)) or known


def _largest(tables: "Iterable[PublishedTable]") -> str:
    largest = sorted(tables, key=lambda table: -table.bytes)[:LARGEST]
    return ", ".join(f"{table.name} {_megabytes(table.bytes)}" for table in largest)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
