"""What moments add up: counts, sums and products of rows about a fixed offset, for each group of tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ato.numerics.matmul import add_cross_gram, add_sum_and_gram
from ato.numerics.parallel import run_tasks
from ato.residuals.position_policies import Layer


@dataclass
class MomentSums:
    """Sums of rows less a pilot mean, float64, where the rows are. Groups are numbered from 0."""

    pairs: tuple[tuple[Layer, int], ...]
    """(source, target) whose cross products are summed."""
    squares_only: frozenset[Layer]
    """Layers of whose own products the diagonal is kept."""
    n: np.ndarray
    """[groups] int64, rows."""
    pilot: dict[Layer, np.ndarray]
    """Layer -> [d], subtracted from its rows; known from the first rows on."""
    epsilon: float
    """Relative rounding of the products: that of float32 or of float64."""
    sums: dict[tuple[Layer, int], torch.Tensor]
    """(layer, group) -> [d]."""
    grams: dict[tuple[Layer, int], torch.Tensor]
    """(layer, group) -> [d, d], or its diagonal [d]."""
    crosses: dict[tuple[Layer, int, int], torch.Tensor]
    """(source, target, group) -> [d_in, d_out]."""

    @classmethod
    def empty(
        cls,
        pairs: Iterable[tuple[Layer, int]],
        squares_only: Iterable[Layer],
        n_groups: int,
        pilot: Mapping[Layer, np.ndarray],
    ) -> "MomentSums":
        """Of no rows."""
        n, epsilon = np.zeros(n_groups, dtype=np.int64), float(np.finfo(np.float64).eps)
        return cls(tuple(pairs), frozenset(squares_only), n, dict(pilot), epsilon, {}, {}, {})

    def add(self, group: int, rows: Mapping[Layer, torch.Tensor]) -> None:
        """Take rows of one group into account, layer -> [n, d], from which the pilot mean is subtracted already."""
        first = next(iter(rows.values()))
        self.n[group] += len(first)
        self.epsilon = max(self.epsilon, torch.finfo(first.dtype).eps)
        # Each task adds to sums that no other task touches.
        own, cross = [], []
        for layer, x in rows.items():
            d = x.shape[1]
            gram = _zeros_once(self.grams, (layer, group), (d,) if layer in self.squares_only else (d, d), x)
            own.append(partial(add_sum_and_gram, x, _zeros_once(self.sums, (layer, group), (d,), x), gram))
        # A task a pair would leave cores idle where there are few pairs.
        parts = -(-2 * torch.get_num_threads() // len(self.pairs)) if first.is_cpu else 1
        for source, target in self.pairs:
            x, y = rows[source], rows[target]
            both = _zeros_once(self.crosses, (source, target, group), (x.shape[1], y.shape[1]), x)
            width = -(-y.shape[1] // parts)
            for columns in (slice(start, start + width) for start in range(0, y.shape[1], width)):
                cross.append(partial(add_cross_gram, x, y[:, columns], both[:, columns]))
        # The longer tasks first, so that the cores finish together. An accelerator has a queue of its own.
        tasks = cross + own if parts == 1 else own + cross
        _ = run_tasks(tasks) if first.is_cpu else [task() for task in tasks]

    def __add__(self, other: "MomentSums") -> "MomentSums":
        """Sums of both sets of rows, of the same pairs and groups; other pilot means are shifted exactly."""
        pilot = {**other.pilot, **self.pilot}
        mine, theirs = self._about(pilot), other._about(pilot)
        return MomentSums(
            self.pairs,
            self.squares_only,
            self.n + other.n,
            pilot,
            max(self.epsilon, other.epsilon),
            _added(mine.sums, theirs.sums),
            _added(mine.grams, theirs.grams),
            _added(mine.crosses, theirs.crosses),
        )

    def _about(self, pilot: Mapping[Layer, np.ndarray]) -> "MomentSums":
        """The same about another pilot mean: sum (z+a)(w+b)' = sum zw' + s_z b' + a s_w' + n a b'."""
        moved = {layer: self.pilot[layer] - pilot[layer] for layer in self.pilot if layer in pilot}
        if not any(np.any(shift) for shift in moved.values()):
            return self
        shift = {key: torch.from_numpy(moved[key[0]]).to(value.device) for key, value in self.sums.items()}
        sums = {key: value + self.n[key[1]] * shift[key] for key, value in self.sums.items()}

        def about(product: torch.Tensor, x: tuple[Layer, int], y: tuple[Layer, int]) -> torch.Tensor:
            e_y, s_y = shift[y].to(product.device), sums[y].to(product.device)
            times = torch.outer if product.ndim == 2 else torch.mul  # the diagonal of that
            return product + times(self.sums[x], e_y) + times(shift[x], s_y)

        grams = {key: about(value, key, key) for key, value in self.grams.items()}
        crosses = {(s, t, g): about(value, (s, g), (t, g)) for (s, t, g), value in self.crosses.items()}
        return MomentSums(self.pairs, self.squares_only, self.n, dict(pilot), self.epsilon, sums, grams, crosses)


Parts = dict[Any, torch.Tensor]


def _zeros_once(parts: Parts, key: tuple[Layer | int, ...], shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """The sum under a key, which starts at zero."""
    if key not in parts:
        parts[key] = torch.zeros(shape, dtype=torch.float64, device=like.device)
    return parts[key]


def _added(mine: Parts, theirs: Parts) -> Parts:
    """Sums that either has, on the device of mine, in memory of their own."""
    total: Parts = {}
    for key in mine | theirs:
        if key in mine and key in theirs:
            total[key] = mine[key] + theirs[key].to(mine[key].device)
        else:
            total[key] = (mine if key in mine else theirs)[key].clone()
    return total
