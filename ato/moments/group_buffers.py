"""Rows of token groups, less a fixed offset, gathered until there are enough of them for a product at full speed."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import torch

from ato.numerics.matmul import take_rows, write_centred
from ato.numerics.parallel import run_tasks
from ato.residuals.position_policies import Layer

PILOT_ROWS = 1024
"""Rows gathered before the pilot mean is taken: that of fewer could be far from what follows."""
DOUBLE_WIDTH = 256
"""Up to this width products are made in float64: they never bound a run there."""


class GroupBuffers:
    """For every group a buffer of each layer, filled by small and large blocks alike and handed over when full.

    Rows are read once and written once, whatever the number of groups in a block; a product then has as many rows as a
    buffer, and adding it to float64 statistics, which costs the same for any number of rows, is rare.

    Args:
        capacity: rows a buffer.
        pilot: layer -> [d], subtracted; layers that are missing get the mean of the first rows.
        precision: of the buffers: "float32", "float64", or "auto", which is float64 for float64 rows and narrow ones.
        hand_over: called with the number of a group and its rows, layer -> [m, d], valid until it returns.
    """

    def __init__(
        self,
        capacity: int,
        pilot: dict[Layer, np.ndarray],
        precision: str,
        hand_over: Callable[[int, dict[Layer, torch.Tensor]], None],
    ):
        self._capacity, self._pilot, self._precision, self._hand_over = capacity, pilot, precision, hand_over
        self._first: list[tuple[dict[Layer, torch.Tensor], np.ndarray]] = []  # until there are enough for a pilot mean
        self._buffers: dict[tuple[int, Layer], torch.Tensor] = {}  # (group, layer) -> [capacity, d]
        self._filled = Counter[int]()
        self._dtype = torch.float64

    def add(self, residuals: Mapping[Layer, torch.Tensor], rows: Mapping[Layer, np.ndarray], codes: np.ndarray) -> None:
        """Take n rows that belong to groups [n]: of residuals, layer -> [m, d], those at rows, layer -> [n], or all."""
        if not self._first and (len(codes) >= PILOT_ROWS or not residuals.keys() - self._pilot):
            self._gather(residuals, rows, codes)
            return
        # The caller may reuse its memory.
        self._first.append(({layer: take_rows(x, rows.get(layer)) for layer, x in residuals.items()}, codes))
        if sum(len(block) for _, block in self._first) >= PILOT_ROWS:
            self._gather_first()

    def flush(self) -> None:
        """Hand over what has been gathered and give the memory back."""
        self._gather_first()
        for code in [code for code, filled in self._filled.items() if filled]:
            self._empty(code)
        self._buffers.clear()

    def _gather_first(self) -> None:
        first, self._first = self._first, []
        if first:
            residuals = {layer: torch.cat([block[layer] for block, _ in first]) for layer in first[0][0]}
            self._gather(residuals, {}, np.concatenate([codes for _, codes in first]))

    def _gather(
        self, residuals: Mapping[Layer, torch.Tensor], rows: Mapping[Layer, np.ndarray], codes: np.ndarray
    ) -> None:
        for layer in residuals.keys() - self._pilot:
            chosen = rows.get(layer, np.arange(len(residuals[layer])))[:PILOT_ROWS]
            pilot = take_rows(residuals[layer], chosen).cpu().numpy().mean(0, dtype=np.float64)
            self._pilot[layer] = pilot.astype(np.float32).astype(np.float64)
        if (dtype := self._dtype_of(residuals.values())) != self._dtype:
            self.flush()
            self._dtype = dtype
        waiting = {int(code): np.flatnonzero(codes == code) for code in np.unique(codes)}
        while waiting:
            part = {code: index[: self._capacity - self._filled[code]] for code, index in waiting.items()}
            run_tasks([partial(self._write, layer, x, rows.get(layer), part) for layer, x in residuals.items()])
            for code, index in part.items():
                self._filled[code] += len(index)
                if self._filled[code] == self._capacity:
                    self._empty(code)
            waiting = {
                code: index[len(part[code]) :] for code, index in waiting.items() if len(index) > len(part[code])
            }

    def _dtype_of(self, residuals: Collection[torch.Tensor]) -> torch.dtype:
        wide = max(x.shape[1] for x in residuals) > DOUBLE_WIDTH and all(x.dtype == torch.float32 for x in residuals)
        single = self._precision == "float32" or (self._precision == "auto" and wide)
        return torch.float32 if single else torch.float64

    def _empty(self, code: int) -> None:
        layers = [layer for group, layer in self._buffers if group == code]
        self._hand_over(code, {layer: self._buffers[code, layer][: self._filled[code]] for layer in layers})
        self._filled[code] = 0

    def _write(self, layer: Layer, x: torch.Tensor, rows: np.ndarray | None, part: Mapping[int, np.ndarray]) -> None:
        for code, index in part.items():
            if (code, layer) not in self._buffers:
                self._buffers[code, layer] = torch.empty(self._capacity, x.shape[1], dtype=self._dtype, device=x.device)
            start = self._filled[code]
            chosen = index if rows is None else rows[index]
            write_centred(x, chosen, self._pilot[layer], self._buffers[code, layer][start : start + len(index)])
