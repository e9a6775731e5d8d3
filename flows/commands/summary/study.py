"""What was studied, what was found, where it is and what it took."""

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from flows.commands.summary.layout import plain_table
from flows.estimates.estimate import duration, size
from warehouse.catalog.catalog import rows
from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of
from warehouse.storage.warehouse import Warehouse


def collection_text(collection: str) -> Text:
    """Key, model, text and sizes of a collection."""
    c = rows(None, "from collections where collection = ?", [collection])[0]
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in c["dropped_by_reason"].items()) or "none"
    text = Text(f"\n{collection}\n", style="bold")
    text.append(
        f"{c['model']} ({c['n_layers']} layers, d = {c['d_model']}, {c['dtype']}) on {c['corpus']}: {c['n_tokens']:,} tokens "
        f"in {c['n_sequences']:,} sequences of {c['n_documents']:,} documents; {c['n_kept']:,} kept at {len(c['layers'])} "
        f"layers; dropped: {dropped}\n",
        style="not bold",
    )
    return text


def finding_texts(collection: str) -> list[Any]:
    """The findings as sentences, each behind its topic."""
    found = findings_of(rows(None, OF_COLLECTION, {"collection": collection}))
    told = [Text.assemble((f"{finding.topic}: ", "bold"), finding.text) for finding in found]
    return [Text("\nFindings (in brackets: 95 % intervals)", style="bold"), *told] if told else []


def stage_costs(collection: str) -> Table:
    """A row a stage; a dash where nobody noted it."""
    table = plain_table("stage", "runs", "time", "CPU time", "peak memory", "tokens run", "disk")
    found = rows(
        None,
        "select stage, count(*) as n, sum(seconds) as seconds, sum(cpu_seconds) as cpu, max(peak_memory) as memory, "
        "max(tokens_run) as tokens, sum(bytes)::bigint as bytes from stage_runs where collection = ? "
        "group by stage order by min(started_at), stage",
        [collection],
    )
    for r in found:
        cpu, memory = (
            "–" if r[name] is None else shown(r[name]) for name, shown in (("cpu", _short), ("memory", size))
        )
        tokens = f"{r['tokens']:,}" if r["tokens"] else ""
        table.add_row(r["stage"], str(r["n"]), _short(r["seconds"]), cpu, memory, tokens, size(r["bytes"]))
    return table


def _short(seconds: float) -> str:
    """A time in a row that leaves room for the long name of a stage in 80 characters."""
    return duration(seconds).replace("minutes", "min")


def warehouse_address(warehouse: Warehouse) -> str:
    """Address of the warehouse, relative if it lies below the working folder."""
    here = Path.cwd()
    local = warehouse.storage.is_local and Path(warehouse.root).is_relative_to(here)
    return str(Path(warehouse.root).relative_to(here)) if local else warehouse.root
