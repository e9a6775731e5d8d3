"""Estimate of a study before it starts: time, memory and disk of each stage, on this machine.

Sizes are exact except for what depends on the text. The time of a stage is a fixed part, the same for every study, plus
its work at the rates measured on this machine, times how far the stage was from these rates in the demo.

The constants stand in the registry of stages (``Cost``). To fit them again after a change of speed, on an idle machine:
`python -m benchmarks.fit_costs`, which runs two studies on two kinds of machine and prints the lines to paste.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ato.errors import ModelError
from ato.models.shapes import model_shape
from flows.estimates.machine_rates import MachineRates, measure_rates
from flows.estimates.stage_costs import StageWork, work_of
from flows.settings import Settings
from flows.stages import stages_of

RUNTIME_BYTES = 1_700_000_000
"""Libraries, and what the stages before left behind."""
KEPT = 1.2
"""Memory that a stage takes over what it holds at once: what it has freed and the allocator has not given back yet."""
START = "start"
"""What comes before the first stage and between the stages: the process, Prefect's server, its messages."""
START_SECONDS = 24.1
"""Of it, whatever the study."""


@dataclass(frozen=True)
class StageEstimate:
    """What one stage takes."""

    work: StageWork
    seconds: float
    memory_bytes: int
    """Of the whole process while the stage runs."""
    disk_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a flow takes; completed stages are not subtracted."""

    by_stage: dict[str, StageEstimate]
    rates: MachineRates

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.by_stage.values())

    @property
    def flops(self) -> float:
        """Of all stages."""
        return sum(stage.work.flops for stage in self.by_stage.values())

    @property
    def memory_bytes(self) -> int:
        """Of the stage that needs most."""
        return max(stage.memory_bytes for stage in self.by_stage.values())

    @property
    def disk_bytes(self) -> int:
        """Of all stages."""
        return sum(stage.disk_bytes for stage in self.by_stage.values())


def estimate(settings: Settings, flow: str = "pipeline", *, rates: MachineRates | None = None) -> Estimate:
    """The estimate of a flow under these settings on this machine.

    Args:
        settings: of the study.
        flow: a name of the command line.
        rates: of the machine; default: measured now, in about a second.

    Raises:
        ModelError: the size of the model is unknown: it is not on this machine, and no profile uses it.
        UnavailableError: this machine lacks the device of the settings.
    """
    shape = model_shape(settings.model.name)
    rates = rates or measure_rates(settings, shape.d_model)
    by_stage = {START: _stage_estimate(StageWork(), START_SECONDS, 1.0, rates)}
    for stage in stages_of(flow, settings):
        if (cost := stage.cost) is not None:
            work = work_of(cost, settings, shape)
            by_stage[stage.name] = _stage_estimate(work, cost.fixed_seconds, cost.slowdown, rates)
    return Estimate(by_stage, rates)


def _stage_estimate(work: StageWork, fixed_seconds: float, slowdown: float, rates: MachineRates) -> StageEstimate:
    return StageEstimate(
        work,
        seconds=fixed_seconds + work.seconds + slowdown * work.ideal_seconds(rates),
        memory_bytes=RUNTIME_BYTES + int(KEPT * work.memory_bytes),
        disk_bytes=work.disk_bytes,
    )


def show_estimate(settings: Settings) -> None:
    """Say the estimate of the whole study in one line.

    Nothing, for a model that must be downloaded first: the run fetches it, or says why it cannot.
    """
    from tasks.engine.progress import phase, say

    try:
        with phase("estimate", "measuring this machine"):
            found = estimate(settings)
    except ModelError:
        return
    stage, most = max(found.by_stage.items(), key=lambda item: item[1].disk_bytes)
    say(
        "estimate",
        f"about {duration(found.seconds)} on this machine, {size(found.memory_bytes)} of memory, "
        f"{size(found.disk_bytes)} of disk ({size(most.disk_bytes)} by {stage}); completed stages are skipped",
    )


def print_estimate(settings: Settings, flow: str) -> Estimate:
    """Print the estimate of a flow as a table, with the rates of this machine that it is based on; returns it.

    Raises:
        ModelError, UnavailableError: as ``estimate``.
    """
    from rich.console import Console
    from rich.table import Table

    found = estimate(settings, flow)
    table = Table(
        title=f"{flow} with {settings.model.name}", title_justify="left", header_style="bold", show_footer=True
    )
    totals = (
        "all",
        duration(found.seconds),
        size(found.memory_bytes),
        size(found.disk_bytes),
        quantity(found.flops, "FLOP"),
    )
    for name, total in zip(("stage", "time", "memory", "disk", "operations"), totals, strict=True):
        table.add_column(name, total, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage, of in found.by_stage.items():
        sizes = size(of.memory_bytes), size(of.disk_bytes)
        table.add_row(stage, duration(of.seconds), *sizes, quantity(of.work.flops, "FLOP"))
    console = Console(highlight=False)
    console.print(table)
    for line in notes(found.rates, settings, flow):
        console.print(line)
    return found


def notes(rates: MachineRates, settings: Settings, flow: str) -> Iterator[str]:
    """Lines below the table: on what it is based, and what it leaves out."""
    yield (
        f"Measured here: {quantity(rates.forward, 'FLOP/s')} in the model's precision, {quantity(rates.product, 'FLOP/s')} "
        f"in float32, {quantity(rates.solve, 'FLOP/s')} in decompositions, memory {size(rates.memory)}/s, "
        f"disk {size(rates.disk)}/s."
    )
    yield "Excludes downloads; completed stages are skipped."
    if settings.explain.ids and flow in ("explain", "pipeline"):
        yield "The time for explanations depends on the network and is not included."


def duration(seconds: float) -> str:
    """Seconds as readable text."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(n: float) -> str:
    """Bytes as readable text."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB" if n < 1000 else f"{n / 1000:.1f} TB"


def quantity(n: float, unit: str) -> str:
    """A number with an SI prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if n < 1000:
            return f"{n:.0f} {prefix}{unit}"
        n /= 1000
    return f"{n:.1f} P{unit}" if n < 1000 else f"{n:.0f} P{unit}"
