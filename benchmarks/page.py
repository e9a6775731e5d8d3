"""The section *One run* of docs/performance.md, from the latest figures in the warehouse: python -m benchmarks.page"""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.__main__ import BY_NAME, NAMES
from benchmarks.program import number
from flows.engine.environment import make_data_folder, prepare_environment
from warehouse.catalog.catalog import rows

LATEST = """select * from benchmark_results
where target is not null and not quick
qualify measured_at = max(measured_at) over (partition by benchmark)"""


def section(figures: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown.

    Args:
        figures: rows of ``benchmark_results`` with a target, at least one.
    """
    figures = sorted(figures, key=lambda figure: (*NAMES, *BY_NAME).index(figure["benchmark"]))
    machine = json.loads(figures[0]["machine"])
    yield f"The figures with targets: {machine['cpu']}, {machine['cores']} cores, torch {machine['torch'].split('+')[0]}."
    yield ""
    yield "| benchmark | what, against what | ours | reference | ratio | target |"
    yield "|---|---|---:|---:|---:|---|"
    for row in figures:
        ours, reference = (f"{number(row[side])} {row['unit']}" for side in ("ours", "reference"))
        ratio = f"{row['ratio']:.3f}" if row["ratio"] < 10 else f"{row['ratio']:.1f}"
        met = "met" if row["met"] else "**missed**"
        what = f"{row['what']}, against {row['against']}"
        aim = f"{row['bound']} {row['target']:g}: {met}"
        yield f"| {row['benchmark']} | {what} | {ours} | {reference} | {ratio} | {aim} |"
    missed = [row for row in figures if not row["met"]]
    if missed:
        yield from ("", "What is missed, and why:", "")
    for row in missed:
        yield f"- **{row['what']}**: {row['why_missed'] or 'see the benchmark'}."


if __name__ == "__main__":
    prepare_environment()
    make_data_folder()
    print("\n".join(section(rows(None, LATEST))))
