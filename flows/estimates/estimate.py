"""What a study will take, said before it starts: time, memory and disk of each stage, on this machine.

Sizes are exact but for what depends on the text. The time of a stage is a part that is the same whatever the study, and
its work at the rates that were measured on this machine, times how far the stage was from these rates in the demo.

To fit the constants again after a change of speed, on an idle machine: `ato run pipeline --profile demo` into a new
warehouse, then `ATO_WAREHOUSE=... python -m benchmarks.estimate`, which prints what each of them should be.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ato.errors import ModelError
from ato.models.shapes import model_shape
from flows.estimates.machine_rates import MachineRates, measure_rates
from flows.estimates.stage_costs import StageWork, stage_work
from flows.settings import Settings

RUNTIME_BYTES = 1_700_000_000
"""Libraries, and what stages have freed but the allocator keeps; it also keeps about as much as the largest stage holds."""
SLOWDOWN = {
    "collect": 1.4,
    "saes": 1.4,
    "features": 2.0,
    "operators": 1.1,
    "evaluate": 1.2,
    "causal": 1.5,
}
"""Time of a stage's work over its time at the measured rates, in the demo: small products, attention, sorting, tables."""
FIXED_SECONDS = {
    "start": 26.0,
    "collect": 5.0,
    "saes": 3.0,
    "features": 4.0,
    "operators": 6.0,
    "evaluate": 3.0,
    "causal": 3.0,
    "report": 13.0,
}
"""Seconds of a stage whatever the study: imports, Prefect's server, quality checks, files. From a study of a few tokens."""
STAGES_OF = {
    "collect": ("collect",),
    "saes": ("collect", "saes"),
    "features": ("collect", "saes", "features"),
    "explain": ("collect", "saes", "features"),
    "operators": ("collect", "operators"),
    "evaluate": ("collect", "saes", "operators", "evaluate"),
    "causal": ("collect", "saes", "features", "operators", "causal"),
    "report": ("collect", "report"),
    "pipeline": ("collect", "saes", "features", "operators", "evaluate", "causal", "report"),
}
"""Flow -> the stages that it brings up to date, its own the last. What explanations take, the network decides."""


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
    """What a flow takes; what is already complete is not subtracted."""

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
        rates: of the machine; default: measured, in about a second.

    Raises:
        ModelError: the model is neither here nor one of a profile, so that its size is unknown.
        UnavailableError: this machine lacks the device of the settings.
    """
    shape = model_shape(settings.model.name)
    rates = rates or measure_rates(settings, shape.d_model)
    works = {stage: stage_work(settings, shape, stage) for stage in stages_of(flow, settings)}
    return Estimate({stage: _stage_estimate(stage, work, rates) for stage, work in works.items()}, rates)


def stages_of(flow: str, settings: Settings) -> list[str]:
    """The stages that a flow runs, in their order, unless they are complete."""
    stages = ["start", *STAGES_OF[flow]]
    if flow == "operators" and settings.operators.for_features:
        stages[2:2] = ["saes", "features"]  # whose decoders it needs
    return [stage for stage in stages if settings.can_intervene or flow != "pipeline" or stage != "causal"]


def _stage_estimate(stage: str, work: StageWork, rates: MachineRates) -> StageEstimate:
    return StageEstimate(
        work,
        seconds=FIXED_SECONDS[stage] + work.seconds + SLOWDOWN.get(stage, 1.0) * work.ideal_seconds(rates),
        memory_bytes=RUNTIME_BYTES + 2 * work.memory_bytes,
        disk_bytes=work.disk_bytes,
    )


def show_estimate(settings: Settings) -> None:
    """Say the estimate of the whole study in one line, or that none can be made; nothing is asked."""
    from tasks.engine.progress import say

    try:
        found = estimate(settings)
    except ModelError as error:
        say("estimate", f"none: {error}")
        return
    stage, most = max(found.by_stage.items(), key=lambda item: item[1].disk_bytes)
    say(
        "estimate",
        f"about {duration(found.seconds)} on this machine, {size(found.memory_bytes)} of memory, "
        f"{size(found.disk_bytes)} of disk ({size(most.disk_bytes)} by {stage}); what is complete is skipped",
    )


def print_estimate(settings: Settings, flow: str) -> None:
    """Print the estimate of a flow as a table, with the rates of this machine that it follows from.

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
    for line in _notes(found.rates, settings, flow):
        console.print(line, soft_wrap=True)


def _notes(rates: MachineRates, settings: Settings, flow: str) -> Iterator[str]:
    """What is said below the table."""
    yield (
        f"Measured here: {quantity(rates.forward, 'FLOP/s')} in the model's precision, {quantity(rates.product, 'FLOP/s')} "
        f"in float32, {quantity(rates.solve, 'FLOP/s')} in decompositions, memory {size(rates.memory)}/s, "
        f"disk {size(rates.disk)}/s."
    )
    yield "Downloads are not in it; what is complete is skipped."
    if settings.explain.ids and flow in ("explain", "pipeline"):
        yield "Explanations come over the network, which decides how long that takes."


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(n: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB" if n < 1000 else f"{n / 1000:.1f} TB"


def quantity(n: float, unit: str) -> str:
    """A number with a prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if n < 1000:
            return f"{n:.0f} {prefix}{unit}"
        n /= 1000
    return f"{n:.1f} P{unit}" if n < 1000 else f"{n:.0f} P{unit}"
