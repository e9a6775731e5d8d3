"""Rows as CSV and Parquet files, and the description that a CSV file has beside it."""

import io
import json

import polars as pl

from warehouse.exports.about import About


def csv_file(rows: pl.DataFrame) -> bytes:
    """Rows as CSV (RFC 4180): a line of names, then values only; nested values are JSON, NULL is an empty field.

    No line describes the rows: readers take ``#`` for data unless they are told otherwise. ``csv_metadata`` stands beside it.
    """
    written = io.BytesIO()
    flat(rows).write_csv(written)
    return written.getvalue()


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with nested values as JSON text."""
    nested = [name for name, kind in rows.schema.items() if kind.is_nested() or kind == pl.Object]
    return rows.with_columns(
        pl.Series(name, [None if value is None else _json(value) for value in rows[name].to_list()], dtype=pl.String)
        for name in nested
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def csv_metadata(rows: pl.DataFrame, about: About, name: str) -> bytes:
    """The description of a CSV file as the W3C's CSV on the Web has it, for a file named ``<name>-metadata.json`` beside it."""
    told = about.fields()
    found = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "dc:title": told["title"],
        "dc:description": told["caption"],
        "dc:source": told["statement"],
        "dc:created": told["date"],
        "dc:creator": told["creator"],
        "dc:extent": told["n"],
        "dc:isPartOf": told["collection"],
        "tableSchema": {
            "columns": [
                {"name": column, "titles": column, "datatype": _datatype(rows[column])} for column in rows.columns
            ]
        },
    }
    return json.dumps(found, ensure_ascii=False, indent=1).encode()


def _datatype(column: pl.Series) -> str:
    kind = column.dtype
    if kind.is_integer():
        return "integer"
    if kind.is_float():
        return "double"
    if kind.is_decimal():
        return "decimal"
    if kind.is_nested():
        return "json"
    return {pl.Boolean: "boolean", pl.Date: "date", pl.Datetime: "datetime"}.get(kind.base_type(), "string")


def parquet_file(rows: pl.DataFrame, about: About) -> bytes:
    """Rows as Parquet; the description is in the file's key-value metadata, under the names of ``About.fields``."""
    import pyarrow.parquet as pq

    written = io.BytesIO()
    pq.write_table(rows.to_arrow().replace_schema_metadata(about.fields()), written, compression="zstd")
    return written.getvalue()
