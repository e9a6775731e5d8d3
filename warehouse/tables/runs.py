"""Tables: what ran, and which checks it passed."""

import pyarrow as pa

from warehouse.tables.declarations import COLLECTION, Column, Table, boolean, float64, int64, string, timestamp

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
    Table(
        "benchmark_results",
        "one figure that a benchmark measured, beside what it is compared with",
        (
            Column("run", string, "key of the run of the benchmark"),
            Column("benchmark", string, "name of the benchmark: python -m benchmarks.NAME"),
            Column("what", string, "what was measured, with its sizes"),
            Column("unit", string, "unit of ours and reference"),
            Column("ours", float64, "the figure of this platform", volatile=True),
            Column("against", string, "what it is compared with: a peer, a physical limit, or itself at another size", nullable=True),
            Column("reference", float64, "the figure of that", nullable=True, volatile=True),
            Column("ratio", float64, "ours over reference for rates and costs, reference over ours where unit is s and bound is at least (times faster)", nullable=True, volatile=True),
            Column("target", float64, "ratio aimed at", nullable=True),
            Column("bound", string, "at least or at most: on which side of the target the ratio should be", nullable=True),
            Column("met", boolean, "whether it is", nullable=True, volatile=True),
            Column("why_missed", string, "why the target is or was missed, and what was tried; empty if nothing is known"),
            Column("quick", boolean, "measured at small sizes, which mean little"),
            Column("machine", string, "processor, cores, memory, GPU and versions (JSON)", volatile=True),
            Column("measured_at", timestamp, "start of the run", volatile=True),
        ),
        ("run", "what", "unit", "against"),
        ("benchmark",),
    ),
)
