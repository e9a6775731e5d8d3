"""The published catalog, ``warehouse.duckdb``: the views as a file in the warehouse, for other DuckDB clients.

A DuckDB file does not know its own place, and relative names in its views would be looked for in the client's working
folder. But DuckDB spills to ``FILE.tmp`` beside the file that a client opens, so that the setting ``temp_directory`` tells
the views where they are: a warehouse that is moved or copied with its catalog is read where it is now. A catalog that is
attached to another database cannot tell: it reads where it was published, and refuses if that is not where it lies.
"""

import shutil
import tempfile
from pathlib import Path

import duckdb

from warehouse.catalog.catalog import create_views, open_database
from warehouse.catalog.marts import quoted_text
from warehouse.catalog.sources import Place
from warehouse.storage.staging import staging_name
from warehouse.storage.warehouse import Warehouse

PUBLISHED = "warehouse.duckdb"
STORAGE_VERSION = "v1.2.0"
"""The oldest DuckDB that opens the file."""
_SPILL = f"{PUBLISHED}.tmp"
_FOLDER, _IN_PLACE = "warehouse_folder()", "warehouse_in_place()"


def publish(root: str | Path | Warehouse | None = None) -> str:
    """Write the catalog as ``warehouse.duckdb`` into the root, for other DuckDB clients; returns its address.

    The file holds views only and is replaced atomically, so readers never meet a writer's lock. What another client left
    beside the former file, a write-ahead log that does not fit this one, is removed.

    Raises:
        DiskFullError: no space left; nothing is left behind.
    """
    warehouse = root if isinstance(root, Warehouse) else Warehouse(root)

    def write(path: Path) -> None:
        # In a folder whose name has no character that DuckDB reads as more than a letter, such as the ? of a URL.
        with tempfile.TemporaryDirectory(prefix=staging_name("ato-")) as folder:
            file = Path(folder, PUBLISHED)
            with open_database(warehouse) as connection:
                connection.execute(
                    f"attach {quoted_text(str(file))} as published (storage_version {quoted_text(STORAGE_VERSION)}); use published"
                )
                create_views(
                    connection, warehouse, _place(connection, warehouse) if warehouse.storage.is_local else None
                )
                connection.execute("use memory; detach published")
            shutil.copyfile(file, path)
        warehouse.storage.remove(f"{PUBLISHED}.wal")

    warehouse.storage.publish(PUBLISHED, write)
    return warehouse.storage.url(PUBLISHED)


def _place(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> Place:
    """Macros that tell the views where the file lies, and whether they know."""
    spill, folder = "current_setting('temp_directory')", f"{warehouse.root}/"
    catalogs = f"path = '{PUBLISHED}' or ends_with(path, '/{PUBLISHED}')"
    here = quoted_text(f"{Path(warehouse.root).resolve()}/{PUBLISHED}")
    opened = f"({spill} = '{_SPILL}' or ends_with({spill}, '/{_SPILL}'))"
    refusal = quoted_text(
        f"this catalog was published in {folder} and is attached elsewhere, or beside another warehouse: "
        "open its file by itself, or publish it again: warehouse.publish(FOLDER)"
    )
    connection.execute(f"""
        create macro {_FOLDER} as regexp_replace(
            case when {opened} then left({spill}, -{len(_SPILL)}) else {quoted_text(folder)} end,
            '[*?\\[{{]', '[\\0]', 'g'
        );
        create macro {_IN_PLACE} as (
            select case
                when {opened} and count(*) <= 1 or not {opened} and count(*) filter (path = {here}) = 1 then true
                else error({refusal})
            end
            from duckdb_databases()
            where {catalogs}
        )""")
    return Place(lambda path: f"{_FOLDER} || {quoted_text(path)}", f" where {_IN_PLACE}")
