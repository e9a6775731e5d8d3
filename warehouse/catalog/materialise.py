"""Writes the rows of the materialised marts of one collection into files, where what they are made from has changed."""

import os
from functools import partial

from warehouse.catalog.catalog import create_tables, open_database
from warehouse.catalog.contents import contents_of
from warehouse.catalog.mart_files import FOLDER, MartFile, mart_folder, mart_keys, stored_marts, tables_read
from warehouse.catalog.marts import MATERIALISED, closure, create_mart_views, mart_texts, quoted_name, quoted_text
from warehouse.catalog.sql_errors import running
from warehouse.storage.manifests import manifests_and_damage
from warehouse.storage.staging import file_sha256
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES


def materialise(warehouse: Warehouse, collection: str) -> list[MartFile]:
    """Write a file for each materialised mart of a collection that has none; returns the files written.

    Costs a listing where nothing has changed since. Processes may do it at the same time, and die: each file appears
    whole, under a name that says what it was made from. Files of earlier results stay for those who read them, until
    ``ato gc``. Nothing is written while a table that a mart reads has a missing or short file: reading the mart raises.

    Raises:
        DamagedFileError: a file has its size, but cannot be read.
        DiskFullError: no space left; nothing is left behind.
    """
    texts = mart_texts()
    runs, unreadable = manifests_and_damage(warehouse)
    expected = mart_keys(runs, texts).get(collection)
    if expected is None or collection not in stored_marts(warehouse.storage.entries(FOLDER), runs, texts).rest:
        return []
    tables = [table for table in TABLES.values() if table.name in tables_read(texts)]
    contents = contents_of(warehouse, [table.name for table in tables], runs, unreadable)
    if any(of_table.problem is not None for of_table in contents.values()):
        return []
    own = {name: of_table.of({collection}) for name, of_table in contents.items()}
    named = {word for mart in MATERIALISED for word in closure(mart, texts)}
    with open_database(warehouse, [table.name for table in tables]) as connection, running():
        create_tables(connection, warehouse, tables, own, comments=False)
        marts = {mart: sql for mart, sql in texts.items() if mart in named}
        create_mart_views(connection, marts, comments=False, as_tables=True)
        written = []
        for mart in MATERIALISED:
            with warehouse.storage.scratch(f"{mart_folder(mart, collection)}/rows") as folder:
                staging = folder / "rows.parquet"
                target = quoted_text(str(staging))
                connection.execute(f"copy {quoted_name(mart)} to {target} (format parquet, compression zstd)")
                file = MartFile(mart, collection, expected[mart], staging.stat().st_size, file_sha256(staging))
                warehouse.storage.publish(file.path, partial(os.replace, staging), digest=lambda _: file.sha256)  # noqa: B023
                written.append(file)
    return written
