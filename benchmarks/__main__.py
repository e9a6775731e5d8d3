"""All benchmarks but those that start servers, each in a process of its own, and one table of the ratios that have targets.

python -m benchmarks [--quick] [NAME ...]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measurement import Measurement
from benchmarks.program import header, line
from flows.engine.environment import make_data_folder, prepare_environment

NAMES = (
    "moments",
    "fitting",
    "scoring",
    "coverage",
    "coverage_auroc",
    "features",
    "feature_windows",
    "sae_training",
    "transcoder_training",
    "causal",
    "entities",
    "labels",
    "embedding",
    "graphs",
    "jacobians",
    "fates",
    "compare",
    "collection",
    "storage",
    "busy_processor",
    "sql",
    "pipeline",
    "estimate",
    "gpu",
)
BY_NAME = ("orchestration", "dashboards")
"""Start servers and workers: run only where they are asked for."""


def main() -> int:
    """Exit status 1 if a program failed; a missed target is printed, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)}; or {', '.join(BY_NAME)}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes; figures mean little")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*NAMES, *BY_NAME}:
        parser.error(f"unknown benchmarks {sorted(unknown)}: choose from {', '.join([*NAMES, *BY_NAME])}")
    prepare_environment()
    make_data_folder()
    rows, failed, started = [], [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names or NAMES:
            figures = Path(folder, f"{name}.json")
            command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(figures)]
            if subprocess.run(command + ["--quick"] * arguments.quick).returncode:
                failed.append(name)
            rows += json.loads(figures.read_text()) if figures.exists() else []
            print(flush=True)
    print(f"all that have a target, {time.monotonic() - started:.0f} s in all")
    print(header())
    aimed = [_measurement(row) for row in rows if row["target"] is not None]
    print(*map(line, aimed), sep="\n")
    print(f"{sum(bool(m.met) for m in aimed)} of {len(aimed)} targets met")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _measurement(row: dict) -> Measurement:
    names = ("what", "unit", "ours", "against", "reference", "ratio", "target", "why_missed")
    return Measurement(**{name: row[name] for name in names}, at_least=row["bound"] == "at least")


if __name__ == "__main__":
    sys.exit(main())
