"""The constants of the estimate, fitted to two studies on two kinds of machine; prints the lines to paste.

python -m benchmarks.fit_costs [--folder FOLDER]

It runs the demo and a small study, as this machine is and as an ordinary one (see ``benchmarks.estimate``): on two
cores about three times the demo. Leave the machine idle meanwhile. Each run is kept in the folder and not repeated by a
second call: remove the folder after a change of speed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.estimate import COSTS, MACHINES, SMALL, StudyRun, run_on
from flows.engine.environment import make_data_folder, prepare_environment
from flows.estimates.estimate import START

STUDIES = {"small study": SMALL, "demo": ()}
SMOOTH_SECONDS = 1.0
"""Errors are relative, but for stages that take less than about this."""


@dataclass(frozen=True)
class Observation:
    """One stage of one run."""

    run: str
    seconds: float
    """Measured."""
    waiting: float
    """Seconds of its work that no rate makes shorter."""
    ideal: float
    """Its work at the machine's rates, in seconds."""

    def estimated(self, fixed: float, slowdown: float) -> float:
        """What the estimate says with these constants."""
        return fixed + self.waiting + slowdown * self.ideal


def main() -> int:
    """Run what is missing, fit, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit_costs", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("data/fit-costs"), help="where the runs are kept")
    folder = parser.parse_args().folder.resolve()
    prepare_environment()
    make_data_folder()
    runs: dict[str, StudyRun] = {}
    for machine in MACHINES:
        for study, changes in STUDIES.items():
            name = f"{study}, {machine.name}"
            print(f"{name} ...", flush=True)
            runs[name] = run_on(machine, name, changes, _made(folder / name.replace(", ", "-").replace(" ", "-")))
    fits = {stage: fit(observations(stage, runs)) for stage in (START, *COSTS)}
    _compare(runs, fits)
    print("\nflows/stages.py:")
    for stage, cost in COSTS.items():
        fixed, slowdown = fits[stage]
        rest = "" if cost.function is None else f', {slowdown:.2f}, "{cost.function}"'
        print(f"    {stage:<10} cost=Cost({fixed:.1f}{rest}),")
    print(f"flows/estimates/estimate.py:\n    START_SECONDS = {fits[START][0]:.1f}")
    return 0


def observations(stage: str, runs: dict[str, StudyRun]) -> list[Observation]:
    """A stage in all runs."""
    found = []
    for name, run in runs.items():
        work = run.found.by_stage[stage].work
        found.append(Observation(name, run.times[stage], work.seconds, work.ideal_seconds(run.found.rates)))
    return found


def fit(found: Sequence[Observation]) -> tuple[float, float]:
    """Fixed seconds and slowdown, neither negative, of least squared relative errors: a factor counts either way."""

    def errors(constants: np.ndarray) -> list[float]:
        return [
            float(np.log((one.estimated(*constants) + SMOOTH_SECONDS) / (one.seconds + SMOOTH_SECONDS)))
            for one in found
        ]

    start = np.array([min(one.seconds for one in found) / 2, 1.0])
    fixed, slowdown = least_squares(errors, start, bounds=(0, np.inf), x_scale=np.maximum(start, 0.1)).x
    return float(fixed), float(slowdown)


def _compare(runs: dict[str, StudyRun], fits: dict[str, tuple[float, float]]) -> None:
    """What the fitted constants say of each run, against what it took."""
    print(f"\n{'':<32} {'measured':>10} {'fitted':>10} {'now':>10}")
    for name, run in runs.items():
        rows = {
            stage: (run.times[stage], one.estimated(*fits[stage]), run.found.by_stage[stage].seconds)
            for stage in fits
            for one in observations(stage, {name: run})
        }
        total = np.sum(list(rows.values()), axis=0)
        print(f"{name:<32}" + "".join(f" {value:>8.1f} s" for value in total))
        for stage, values in rows.items():
            print(f"    {stage:<28}" + "".join(f" {value:>8.1f} s" for value in values))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
