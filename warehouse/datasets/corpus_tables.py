"""Readers of columnar formats: Parquet, and Arrow files and streams; text of every type that Arrow keeps it in."""

from collections import abc
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ato.errors import CorpusError
from warehouse.datasets import corpus_records
from warehouse.datasets.corpus_conversations import has_message_fields
from warehouse.datasets.corpus_records import FieldReader, Found, splits

BATCH_ROWS = 256


def read_parquet(file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """The rows of a Parquet file, a batch at a time."""
    import pyarrow.parquet as pq

    with _readable(file, "Parquet"), pq.ParquetFile(file) as parquet:
        column, *others = columns = _columns(parquet.schema_arrow, reader, file)
        leaves = {parquet.schema.column(i).path for i in range(len(parquet.schema))}
    # As a dictionary, a long text that comes often is held once.
    dictionaries = [column] if column in leaves else None
    with _readable(file, "Parquet"), pq.ParquetFile(file, read_dictionary=dictionaries) as parquet:
        batches = parquet.iter_batches(columns=columns, batch_size=_batch_rows(parquet.metadata, column))
        yield from _rows(batches, column, others, file, reader)


def read_arrow(file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """The rows of an Arrow file, or of a stream as ``datasets`` saves it, a batch at a time."""
    import pyarrow as pa

    with _readable(file, "Arrow"), pa.memory_map(str(file)) as source:
        if source.read(6) == b"ARROW1":
            whole = pa.ipc.open_file(source)
            schema, batches = whole.schema, (whole.get_batch(i) for i in range(whole.num_record_batches))
        else:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            schema, batches = stream.schema, iter(stream)
        column, *others = columns = _columns(schema, reader, file)
        parts = (part for batch in batches for part in _parts(batch.select(columns)))
        yield from _rows(parts, column, others, file, reader)


def _batch_rows(footer: Any, column: str) -> int:
    """Rows of a batch: fewer where they are long, so that a batch holds about ``MOST_BYTES``."""
    longest = 1
    for group in map(footer.row_group, range(footer.num_row_groups)):
        parts = [group.column(i) for i in range(group.num_columns)]
        size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.startswith(column))
        longest = max(longest, size // max(1, group.num_rows))
    return max(1, min(BATCH_ROWS, corpus_records.MOST_BYTES // longest))


def _parts(batch: Any) -> abc.Iterator[Any]:
    return (batch.slice(start, BATCH_ROWS) for start in range(0, len(batch), BATCH_ROWS))


def _rows(
    batches: abc.Iterable[Any], column: str, others: abc.Sequence[str], file: Path, reader: FieldReader
) -> abc.Iterator[Found]:
    row = 0
    for batch in batches:
        # One row at a time: a text of a dictionary may be long and come often.
        for value, *beside in zip(batch.column(column), *(batch.column(name) for name in others)):
            record = {column: value.as_py()}
            text = reader.text(record, f"{file}, row {row}")
            record |= {name: one.as_py() for name, one in zip(others, beside)}
            yield Found(f"{file.name}, row {row}", text, record)
            row += 1


@contextmanager
def _readable(file: Path, kind: str) -> abc.Iterator[None]:
    """Errors of the library as one line."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError as error:
        cure = "write it as UTF-8, or as binary"
        raise CorpusError("a text is not UTF-8", where=f"{file}, byte {error.start} of a text", cure=cure) from None
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"the {kind} file cannot be read", where=file, cure="write it again") from error


def _columns(schema: Any, reader: FieldReader, file: Path) -> list[str]:
    """Names of the columns to read, each once: that of the text, then those of what is read beside it."""
    found = {_column(schema, reader, file): None}
    for path in reader.columns:
        places = ((path, ""), *splits(path))
        inside = (name for name, rest in places if schema.names.count(name) == 1 and _is_there(schema, name, rest))
        if (column := next(inside, None)) is None:
            raise reader.no_column(path, file, sorted(name for name in schema.names if schema.names.count(name) == 1))
        found[column] = None
    return list(found)


def _is_there(schema: Any, name: str, path: str) -> bool:
    return _type_at(schema.field(name).type, path) is not None


def _column(schema: Any, reader: FieldReader, file: Path) -> str:
    """Name of the column that the field is in, or below."""
    for name, rest in ((reader.field, ""), *splits(reader.field)):
        if schema.names.count(name) == 1 and _holds_text(_type_at(schema.field(name).type, rest)):
            return name
    raise reader.no_text(file, sorted(path for field in schema for path in _text_paths(field)))


def _type_at(kind: Any, path: str) -> Any:
    """The type at a path of names and numbers below a type; None if there is no such place."""
    import pyarrow.types as types

    if not path:
        return kind
    name, _, rest = path.partition(".")
    if _is_list(kind):
        return _type_at(kind.value_type, rest if name.isdigit() else path)
    if not types.is_struct(kind):
        return None
    fields = {field.name: field.type for field in kind}
    if path in fields:
        return fields[path]
    below = (_type_at(fields[first], rest) for first, rest in splits(path) if first in fields)
    return next((found for found in below if found is not None), None)


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(
        types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_list_view(kind)
    )


def _holds_text(kind: Any) -> bool:
    """Whether a type holds text: strings and bytes of every layout, dictionaries and lists of them, conversations."""
    import pyarrow.types as types

    if kind is None:
        return False
    if types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if _is_list(kind):
        item = kind.value_type
        if types.is_struct(item):
            return has_message_fields([field.name for field in item])
        return _holds_text(item)
    strings = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    raw = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return bool(strings or raw or types.is_null(kind))


def _text_paths(field: Any, prefix: str = "") -> abc.Iterator[str]:
    """Paths of a column that hold text."""
    import pyarrow.types as types

    name, kind = f"{prefix}{field.name}", field.type
    if not types.is_null(kind) and _holds_text(kind):
        yield name
        return
    inner = kind.value_type if _is_list(kind) else kind
    if types.is_struct(inner):
        for below in inner:
            yield from _text_paths(below, f"{name}.")
