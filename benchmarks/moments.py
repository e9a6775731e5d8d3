"""Moments of layer pairs as a collection streams past: achieved FLOP/s against the machine's own matrix products.

Useful work only: 2 n d_in d_out for a cross product, n d (d + 1) for a layer's own, made once whatever the number of
pairs. The peak is the best rate that bare float32 products reach in the same run on all cores: square ones, and ones of
the shape at hand. The peer is the plain loop: ``x.T @ y`` of every pair in float64, group by group.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ato.moments import Moments
from ato.numerics.devices import choose_device
from ato.numerics.parallel import run_tasks
from ato.residuals import Layer, ResidualBlock
from benchmarks.measurement import Measurement, growth, rate, speedup
from benchmarks.program import run
from benchmarks.timing import peak_memory, seconds

LENGTH = 128
"""Tokens of a document."""
N_FOLDS = 5
CUTS = (0.1, 0.25, 0.5)
LARGEST_DIFFERENCE = 1e-5
"""Of a scatter entry, relative to the scales of its coordinates."""


@dataclass(frozen=True)
class Shape:
    """What is streamed."""

    d: int = 576
    sources: tuple[int, ...] = tuple(range(7))
    leaps: tuple[int, ...] = (2, 4)
    block_rows: int = 4096

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Source and target layers."""
        return [(source, source + leap) for source in self.sources for leap in self.leaps]

    @property
    def n_layers(self) -> int:
        """Layers that are sources or targets; all in between are."""
        return max(target for _, target in self.pairs) + 1

    def flops(self, rows: int, permuted_rows: int = 0) -> float:
        """Useful operations of moments of so many rows."""
        own = len(self.pairs) * 2 * self.d**2 + self.n_layers * self.d * (self.d + 1)
        sides = len({source for source, _ in self.pairs}) + len({target for _, target in self.pairs})
        null = len(self.pairs) * 2 * self.d**2 + sides * self.d * (self.d + 1)
        return float(rows * own + permuted_rows * null)


class Stream:
    """A residual source that makes every block when it is asked for, from a few rows drawn once."""

    n_folds = N_FOLDS

    def __init__(self, shape: Shape, blocks: int):
        self.shape, self.layers, self.d_model = shape, tuple(range(shape.n_layers)), shape.d
        self._blocks, draw = blocks, torch.Generator().manual_seed(0)
        device = choose_device("auto")
        self._rows = {
            layer: (torch.randn(2 * shape.block_rows, shape.d, generator=draw) * 3 + 1).to(device)
            for layer in self.layers
        }

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of one split each, as shards are: eight of train, one of val, one of test."""
        n = self.shape.block_rows
        for number in range(self._blocks):
            token = np.arange(n, dtype=np.int64) + number * n
            document = token // LENGTH
            split = number % 10
            group = np.full(n, N_FOLDS + split - 1) if split in (1, 2) else document % N_FOLDS
            rows = slice((number % 2) * n, (number % 2 + 1) * n)
            yield ResidualBlock(
                {layer: x[rows] for layer, x in self._rows.items()},
                document,
                (token % LENGTH).astype(np.int32),
                np.zeros(n, dtype=np.int32),
                document,
                group.astype(np.int16),
            )

    def moments(self) -> Moments:
        """The moments of the stream."""
        moments = Moments(self.shape.pairs, n_folds=N_FOLDS, cuts=CUTS)
        for block in self.blocks():
            moments.update(block)
        return finished(moments)

    def with_chance(self) -> tuple[Moments, Moments]:
        """The same and those of the permutation null, as the study gathers them."""
        from tasks.collect.moments import MomentsPass
        from tasks.settings import OperatorSettings

        settings = OperatorSettings(
            source_layers=list(self.shape.sources),
            leaps=list(self.shape.leaps),
            train_fractions=[*CUTS, 1.0],
            permutation_null=True,
        )
        both = MomentsPass(self, settings)
        for block in self.blocks():
            both.update(block)
        assert both.moments.permuted is not None
        return finished(both.moments.own), finished(both.moments.permuted)


def finished(moments: Moments) -> Moments:
    """The moments, with all their products made."""
    assert moments.train_folds
    return moments


def rows_of(moments: Moments) -> int:
    """Rows in all groups that have any."""
    return moments.variation(moments.layers[0], moments.groups)[0]


def plain_loop(stream: Stream) -> dict[tuple[int, int, int], np.ndarray]:
    """Cross scatters about the mean of every pair and group, from ``x.T @ y`` in float64."""
    found: dict[tuple[int, int, int], list] = {}
    for block in stream.blocks():
        x = {layer: rows.double() for layer, rows in block.residuals.items()}
        for group in np.unique(block.group):
            index = torch.from_numpy(np.flatnonzero(block.group == group)).to(x[0].device)
            chosen = {layer: rows[index] for layer, rows in x.items()}
            for source, target in stream.shape.pairs:
                a, b = chosen[source], chosen[target]
                parts = [torch.tensor(len(a)), a.sum(0), b.sum(0), a.T @ a, a.T @ b, b.T @ b]
                before = found.get((source, target, int(group)))
                found[source, target, int(group)] = parts if before is None else [p + q for p, q in zip(before, parts)]
    return {key: (xy - torch.outer(x, y) / int(n)).cpu().numpy() for key, (n, x, y, _, xy, _) in found.items()}


def peak_flops(shape: Shape) -> float:
    """The best rate of bare float32 products on all cores, square or of the shape at hand."""
    device = choose_device("auto")
    torch.set_float32_matmul_precision("highest")
    cores = torch.get_num_threads() if device.type == "cpu" else 1

    def best(rows: int, width: int, repeats: int) -> float:
        x, y = (torch.randn(rows, width, device=device) for _ in range(2))

        def multiply() -> None:
            for _ in range(repeats):
                # NumPy's BLAS is the one that the moments use on the CPU.
                _ = x.numpy().T @ y.numpy() if device.type == "cpu" else x.T @ y

        tasks = [multiply] * cores
        return max(2 * rows * width**2 * repeats * cores / seconds(partial(run_tasks, tasks))[0] for _ in range(3))

    large = device.type != "cpu"
    return max(best(8192, 8192, 5) if large else best(1536, 1536, 4), best(2048, shape.d, 20))


def compare(ours: Moments, plain: dict[tuple[int, int, int], np.ndarray]) -> None:
    """Raise AssertionError unless the cross scatters are those of the plain loop."""
    for (source, target, group), expected in plain.items():
        name = f"train-{group}" if group < N_FOLDS else ("val", "test")[group - N_FOLDS]
        got = ours.cross(source, target, [name])
        scale = np.sqrt(np.outer(ours.variation(source, [name])[2], ours.variation(target, [name])[2]))
        apart = float(np.abs((got - expected) / scale).max())
        assert apart < LARGEST_DIFFERENCE, f"cross scatter {source} -> {target} of {name} differs by {apart:.1e}"


def stream_through(d: str, blocks: str) -> None:
    """What the memory is measured of."""
    Stream(Shape(int(d), (0, 1), (1,), 1024), int(blocks)).with_chance()


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures of moments."""
    shape = Shape(288, (0, 1), (1, 2), 1024) if quick else Shape()
    stream, small = Stream(shape, 10 if quick else 16), Stream(shape, 3)
    what = f"{len(shape.pairs)} pairs of {shape.n_layers} layers, d = {shape.d}"
    peak = peak_flops(shape)
    taken, moments = min((seconds(stream.moments) for _ in range(2)), key=lambda found: found[0])
    done = shape.flops(rows_of(moments)) / taken
    yield rate(f"moments, {what}", "FLOP/s", done, "peak of products", peak, at_least=0.7)
    taken, (own, permuted) = min((seconds(stream.with_chance) for _ in range(2)), key=lambda found: found[0])
    done = shape.flops(rows_of(own), rows_of(permuted)) / taken
    yield rate(f"moments with those of chance, {what}", "FLOP/s", done, "peak of products", peak, at_least=0.7)
    taken, moments = seconds(small.moments)
    taken_plain, plain = seconds(partial(plain_loop, small))
    compare(moments, plain)
    name = f"moments, {what}, {rows_of(moments):,} tokens"
    yield speedup(name, taken, "x.T @ y in float64, pair by pair", taken_plain)
    few, many = peak_memory(
        "benchmarks.moments:stream_through", *(((64, 20), (64, 200)) if quick else ((288, 30), (288, 300)))
    )
    yield growth("peak memory of moments at 10x tokens", "MiB", many, "1x tokens", few, at_most=1.1)


if __name__ == "__main__":
    sys.exit(run("moments", measure, __doc__))
