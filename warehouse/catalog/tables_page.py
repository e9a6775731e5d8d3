"""The page docs/tables.md, generated from the declarations: ``python -m warehouse.catalog.tables_page > docs/tables.md``."""

from warehouse.catalog.catalog import duckdb_type
from warehouse.tables import TABLES, Column, Table


def tables_page() -> str:
    """All declared tables with their columns, types, units and meanings, as Markdown."""
    head = (
        "# Tables\n\n"
        "Each table is a folder of Parquet files, partitioned as shown; `ato tables` lists them with their row counts.\n"
        "NULL means not measured or not applicable; NaN never occurs.\n"
    )
    return "\n".join([head, *(_section(table) for table in TABLES.values())])


def _section(table: Table) -> str:
    rows = "\n".join(f"| `{c.name}` | {_type(c)} | {_meaning(c)} |" for c in table.columns)
    return (
        f"## {table.name}\n\nOne row: {table.meaning}. Key: {', '.join(table.key)}. "
        f"{_partition(table)}\n\n| column | type | meaning |\n|---|---|---|\n{rows}\n"
    )


def _partition(table: Table) -> str:
    return f"Partitioned by {', '.join(table.partition)}." if table.partition else "Not partitioned."


def _type(column: Column) -> str:
    kind = "FLOAT[d_model]" if column.type is None else duckdb_type(column.type)
    return kind + (", or NULL" if column.nullable else "")


def _meaning(column: Column) -> str:
    return (column.meaning + (f" [{column.unit}]" if column.unit else "")).replace("|", "\\|")


if __name__ == "__main__":
    print(tables_page(), end="")
