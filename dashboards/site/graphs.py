"""The influence of each edge of the latest graphs, as a table of the site: no mart holds it, the viewer draws by it."""

from collections.abc import Collection, Sequence

import duckdb
import polars as pl
import pyarrow as pa

from dashboards.views.graphs.packing import packed
from dashboards.views.graphs.viewer import NODES
from warehouse.catalog.literals import filled

MEANING = (
    "share of all influence that an edge and those before it have together, of the latest graph of each prompt and kind"
)
KEY = {"collection": "VARCHAR", "graph_set": "VARCHAR", "prompt": "VARCHAR", "graph_kind": "VARCHAR"}
COLUMNS = KEY | {"source": "INTEGER", "target": "INTEGER", "influence": "DOUBLE"}
"""Column -> type of DuckDB."""
POLARS = {"VARCHAR": pl.String, "INTEGER": pl.Int32, "DOUBLE": pl.Float64}


def edge_influence(
    connection: duckdb.DuckDBPyConnection, known: Collection[str], collections: Sequence[str]
) -> pa.Table | None:
    """A row for each edge of the graphs of these collections; None for a warehouse without graphs."""
    if "graph_summary" not in known:
        return None
    listed = "select collection, graph_set, prompt, graph_kind from graph_summary where list_contains($keys, collection) order by all"
    graphs = connection.sql(listed, params={"keys": list(collections)}).pl().to_dicts()
    schema = {name: POLARS[kind] for name, kind in COLUMNS.items()}
    rows = [pl.DataFrame(schema=schema)]
    for graph in graphs:
        edges = packed(connection.sql(filled(NODES, **graph)).pl(), ())["edges"]
        repeated = {name: [value] * len(edges["source"]) for name, value in graph.items()}
        rows.append(pl.DataFrame({name: (repeated | edges)[name] for name in COLUMNS}, schema=schema))
    return pl.concat(rows).sort(pl.all()).to_arrow()
