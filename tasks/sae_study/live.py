"""What a person sees while SAEs are trained: for each its loss, FVU, L0 and dead features, and a curve of the FVU."""

from collections.abc import Sequence
from itertools import islice
from typing import IO

from rich.console import RenderableType
from rich.table import Table

from ato.saes.training.plan import LogRow
from tasks.engine.progress import Progress, terminal

MOST_ROWS = 12
"""SAEs that are shown; of more, the last ones are counted only."""
WIDTH = 16
"""Characters of a curve."""
BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.:-=+*#"
"""The same where only ASCII can be shown."""


class TrainingProgress(Progress):
    """Progress of SAEs that are trained in one pass.

    Args:
        place: that they read, in words.
        n_tokens: to train on.
        labels: of the SAEs, in their order.
    """

    def __init__(self, place: str, n_tokens: int, labels: Sequence[str]):
        super().__init__("sae_study", n_tokens, "tokens", f"{place}, {len(labels)} SAEs")
        self._labels = list(labels)
        self._rows: list[list[LogRow]] = [[] for _ in labels]

    def show(self, number: int, row: LogRow) -> None:
        """Take the newest row of the log of one SAE."""
        self._rows[number].append(row)

    def __enter__(self) -> "TrainingProgress":
        super().__enter__()
        return self

    def panel(self) -> RenderableType | None:
        """A table of all SAEs, for a terminal."""
        table = Table(box=None, pad_edge=False)
        for name in ("SAE", "loss", "FVU", "L0", "dead", ""):
            table.add_column(name, justify="left" if name in ("SAE", "") else "right", no_wrap=True)
        for label, rows in islice(zip(self._labels, self._rows), MOST_ROWS):
            if rows:
                table.add_row(label, *figures(rows[-1]), sparkline([float(row["fvu"]) for row in rows]))
        if len(self._labels) > MOST_ROWS:
            table.add_row(f"and {len(self._labels) - MOST_ROWS} more")
        return table if any(self._rows) else None

    def speak(self, stream: IO[str]) -> None:
        """Status, then a line for each SAE, where no table can be drawn."""
        super().speak(stream)
        if terminal.quiet:
            return
        for label, rows in islice(zip(self._labels, self._rows), MOST_ROWS):
            if rows:
                loss, fvu, l0, dead = figures(rows[-1])
                curve = sparkline([float(row["fvu"]) for row in rows], PLAIN_BARS)
                line = f"{label}: loss {loss}, FVU {fvu} {curve}, L0 {l0}, dead {dead}"
                print(f"{self.stage:<9} {line}", file=stream, flush=True)


def figures(row: LogRow) -> tuple[str, str, str, str]:
    """Loss, FVU, L0 and share of dead features in words."""
    return f"{row['mse']:.1f}", f"{row['fvu']:.3f}", f"{row['l0']:.1f}", f"{row['dead_share']:.1%}"


def sparkline(values: Sequence[float], bars: str = BARS) -> str:
    """The course of some values in at most ``WIDTH`` characters, the lowest and the highest of them its scale."""
    if len(values) > WIDTH:
        values = [values[round(i * (len(values) - 1) / (WIDTH - 1))] for i in range(WIDTH)]
    low, high = min(values), max(values)
    if high == low:
        return bars[0] * len(values)
    return "".join(bars[round((value - low) / (high - low) * (len(bars) - 1))] for value in values)
