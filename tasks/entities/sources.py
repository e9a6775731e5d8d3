"""Where entities come from: built-in sets, and files of a user's."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ato.entities.catalog import Entity
from ato.entities.records import entities_of
from ato.entities.sets import SETS, read_set
from ato.errors import InputError
from ato.io.hashing import file_sha256


def read_source(source: str) -> list[Entity]:
    """Entities of a built-in set or of a file; Parquet is read here, the rest by ``ato.entities.sets``."""
    if source in SETS:
        return read_set(source)
    path = source_path(source)
    if path.suffix.lower() != ".parquet":
        return read_set(str(path))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        records: Iterable[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    except FileNotFoundError:
        raise InputError("no such file of entities", where=source, cure="give a path that exists") from None
    except (pa.ArrowException, OSError) as error:  # a damaged footer is an OSError, over several lines
        raise InputError(
            f"not a Parquet file ({' '.join(str(error).split())})", where=source, cure="write it again"
        ) from None
    return entities_of(records, source)


def source_path(source: str) -> Path:
    """Where a file of a user's lies; ``~`` is the user's folder."""
    return Path(source).expanduser()


def source_hashes(sources: Sequence[str]) -> list[str]:
    """What identifies the contents of the sources: names of built-in sets, hashes of files."""
    found = []
    for source in sources:
        if source in SETS:
            found.append(source)
        elif not source_path(source).is_file():
            raise InputError(
                "no such set of entities", where=source, cure=f"use one of {', '.join(SETS)}, or a file that exists"
            )
        else:
            found.append(file_sha256(source_path(source)))
    return found
