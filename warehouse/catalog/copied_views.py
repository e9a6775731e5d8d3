"""Views that are copied from database to database: DuckDB copies a catalog as it stands, without binding its statements."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from ato.errors import AtoError
from ato.io.response_cache import ResponseCache
from ato.io.user_cache import user_cache
from warehouse.catalog.marts import quoted_name, quoted_text
from warehouse.catalog.sources import settings
from warehouse.storage.staging import staging_name

_ATTACHED = "ato_copied_views"
KEPT_SECONDS = 30 * 24 * 3600
"""Age from which files of earlier versions are removed from the cache when one is added; one in use is made anew."""


def kept_views(made_of: Iterable[str], make: Callable[[duckdb.DuckDBPyConnection], None]) -> bytes:
    """``file_of_views``, made once for all processes of a user.

    The user's cache holds the file under a hash of all that it is made of, with its own hash: neither an outdated nor a damaged one
    is ever read. Where the cache cannot be written, each process makes its own.

    Args:
        made_of: all that the views follow from, but DuckDB.
        make: creates them in a connection.
    """
    request = "\n".join([duckdb.__version__, *made_of])
    try:
        cache = ResponseCache(user_cache("views"))
    except RuntimeError:  # a user without a home
        return file_of_views(make)
    views = cache.get(request)
    if views is None:
        views = file_of_views(make)
        with suppress(AtoError):
            cache.put(request, views)
            cache.remove_older(KEPT_SECONDS)
    return views


def file_of_views(make: Callable[[duckdb.DuckDBPyConnection], None]) -> bytes:
    """A database with the views that ``make`` creates in a connection."""
    with _file() as file:
        with duckdb.connect(config=settings()) as connection:
            connection.execute(f"attach {quoted_text(str(file))} as {_ATTACHED} (block_size 16384); use {_ATTACHED}")
            make(connection)
            connection.execute(f"use memory; detach {_ATTACHED}")
        return file.read_bytes()


def copy_views(connection: duckdb.DuckDBPyConnection, views: bytes) -> None:
    """Create the views of ``file_of_views`` in the database that a connection uses; none of them may be there."""
    with _file() as file:
        file.write_bytes(views)
        ((used,),) = connection.execute("select current_database()").fetchall()
        connection.execute(f"attach {quoted_text(str(file))} as {_ATTACHED} (read_only)")
        connection.execute(f"copy from database {_ATTACHED} to {quoted_name(used)}; detach {_ATTACHED}")


@contextmanager
def _file() -> Iterator[Path]:
    # In a folder whose name has no character that DuckDB reads as more than a letter, such as the ? of a URL.
    with tempfile.TemporaryDirectory(prefix=staging_name("ato-")) as folder:
        yield Path(folder, "views.duckdb")
