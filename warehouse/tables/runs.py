"""Tables: what ran, and which checks it passed."""

import pyarrow as pa

from warehouse.tables.declaring import COLLECTION, Column, Table, boolean, float64, int64, string, timestamp

# fmt: off
TABLES = (
    Table(
        "quality_results",
        "one expectation checked on what a stage had just written",
        (
            COLLECTION,
            Column("stage", string, "stage that wrote the rows"),
            Column("key", string, "key of the stage run; of the first where several were checked together"),
            Column("table_name", string, "table checked"),
            Column("expectation", string, "what must hold"),
            Column("column_name", string, "column or columns concerned", nullable=True),
            Column("success", boolean, "whether it holds"),
            Column("n_checked", int64, "rows looked at", minimum=0),
            Column("n_unexpected", int64, "rows that break it", minimum=0),
            Column("examples", string, "keys of up to five offending rows (JSON)", nullable=True),
        ),
        ("stage", "key", "table_name", "expectation", "column_name"),
        ("collection",),
    ),
    Table(
        "stage_runs",
        "one completed stage with what it read, wrote and took: the manifest",
        (
            Column("stage", string, "name of the stage"),
            Column("key", string, "key of the stage: slug and hash of settings and inputs"),
            Column("collection", string, "collection it belongs to"),
            Column("inputs", pa.list_(string), "keys it was made from"),
            Column("settings", string, "its own settings (JSON)"),
            Column(
                "files",
                pa.list_(pa.struct([("path", string), ("table_name", string), ("rows", int64), ("bytes", int64), ("sha256", string)])),
                "every file it wrote, relative to the warehouse",
            ),
            Column("rows", int64, "rows written", minimum=0),
            Column("bytes", int64, "bytes written", unit="bytes", minimum=0),
            Column("tokens_run", int64, "tokens run through the model", unit="tokens", minimum=0, volatile=True),
            Column("quality", string, "passed or failed; failed rows stay out of every view"),
            Column("flow_run_id", string, "Prefect flow run", nullable=True, volatile=True),
            Column("started_at", timestamp, "start", volatile=True),
            Column("seconds", float64, "wall time", unit="s", minimum=0, volatile=True),
        ),
        ("stage", "key"),
        ("stage",),
    ),
)
