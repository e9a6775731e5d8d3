"""Tables: stage runs, quality checks and benchmarks."""

import pyarrow as pa

from warehouse.tables.declarations import COLLECTION, Column, Table, boolean, float64, int64, string, timestamp

# fmt: off
TABLES = (
    Table(
        "quality_results",
        "one quality check of the output of a stage",
        (
            COLLECTION,
            Column("stage", string, "stage that wrote the rows"),
            Column("key", string, "key of the stage run; of the first if several were checked together"),
            Column("table_name", string, "table checked"),
            Column("expectation", string, "condition that must hold"),
            Column("column_name", string, "column or columns concerned", nullable=True),
            Column("success", boolean, "whether the check passed"),
            Column("n_checked", int64, "rows checked", minimum=0),
            Column("n_unexpected", int64, "rows that fail", minimum=0),
            Column("examples", string, "keys of up to five failing rows (JSON)", nullable=True),
        ),
        ("stage", "key", "table_name", "expectation", "column_name"),
        ("collection",),
    ),
    Table(
        "stage_runs",
        "one completed stage run with its inputs, outputs and cost: the manifest",
        (
            Column("stage", string, "name of the stage"),
            Column("key", string, "key of the run: slug and hash of settings and inputs"),
            Column("collection", string, "collection it belongs to"),
            Column("inputs", pa.list_(string), "keys of its inputs"),
            Column("settings", string, "settings of the stage (JSON)"),
            Column(
                "files",
                pa.list_(pa.struct([("path", string), ("table_name", string), ("rows", int64), ("bytes", int64), ("sha256", string)])),
                "files written, with paths relative to the warehouse",
            ),
            Column("rows", int64, "rows written", minimum=0),
            Column("bytes", int64, "bytes written", unit="bytes", minimum=0),
            Column("tokens_run", int64, "tokens run through the model, in the pass that the batch shares", unit="tokens", minimum=0, volatile=True),
            Column("quality", string, "passed or failed; output of failed runs is hidden from every view"),
            Column("flow_run_id", string, "Prefect flow run", nullable=True, volatile=True),
            Column("started_at", timestamp, "start of the work, of the whole batch", volatile=True),
            Column("seconds", float64, "wall time of the work, with checking and writing; in a batch its own part and an even share of the common one, so that a sum counts nothing twice (on several workers: worker seconds)", unit="s", minimum=0, volatile=True),
            Column("batch", string, "key of the first stage run of the batch: runs that share one pass; its own key if it was made alone", nullable=True, volatile=True),
            Column("batch_stages", int64, "stage runs in the batch", nullable=True, minimum=1, volatile=True),
            Column("batch_seconds", float64, "wall time of the whole batch", unit="s", nullable=True, minimum=0, volatile=True),
            Column("cpu_seconds", float64, "share of the batch's CPU time: all threads of the process meanwhile, its finished child processes, and the workers of its parts", unit="s", nullable=True, minimum=0, volatile=True),
            Column("peak_memory", int64, "high-water mark: the most that the process had held in memory by then, in this work or before", unit="bytes", nullable=True, minimum=0, volatile=True),
        ),
        ("stage", "key"),
        ("stage",),
    ),
    Table(
        "benchmark_results",
        "one measurement of a benchmark beside its reference",
        (
            Column("run", string, "key of the benchmark run"),
            Column("benchmark", string, "name of the benchmark: python -m benchmarks.NAME"),
            Column("what", string, "measured quantity, with its sizes"),
            Column("unit", string, "unit of ours and reference"),
            Column("ours", float64, "measured value of this platform", volatile=True),
            Column("against", string, "what the reference is: a peer, a physical limit, or this platform at another size", nullable=True),
            Column("reference", float64, "measured value of the reference", nullable=True, volatile=True),
            Column("ratio", float64, "ours / reference for rates and costs; reference / ours if unit is s and bound is at least (times faster)", nullable=True, volatile=True),
            Column("target", float64, "target ratio", nullable=True),
            Column("bound", string, "at least or at most: required side of the target", nullable=True),
            Column("met", boolean, "whether the target is met", nullable=True, volatile=True),
            Column("why_missed", string, "why the target is missed, and what was tried; empty if unknown"),
            Column("quick", boolean, "true if measured at small sizes, which are not representative"),
            Column("machine", string, "processor, cores, memory, GPU and versions (JSON)", volatile=True),
            Column("measured_at", timestamp, "start of the run", volatile=True),
        ),
        ("run", "what", "unit", "against"),
        ("benchmark",),
    ),
)
