"""What SAEs are trained on: shuffled batches of residuals, brought to mean 0 and a mean norm of sqrt(d_in)."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ato.errors import CorpusError, LayerError
from ato.residuals.blocks import ResidualSource, check_finite
from ato.saes.training.calibration import ROWS as CALIBRATION_ROWS
from ato.saes.training.shuffle_buffer import ShuffleBuffer

HELD_OUT_ROWS = 8192
"""Residuals of the val split, the first ones, on which the held-out FVU is measured: its memory does not grow with the split."""
_NORM_ROWS = 4096
_SAMPLE_ROWS = 512
"""Rows of ``TrainingStart.sample``."""


class TrainingInputs:
    """The train residuals of one layer, shuffled and normalised.

    Mean and scale are estimated on the first filling of the shuffle buffer.

    Raises:
        LayerError: the source has no residuals of that layer.
        CorpusError: it has no train residuals.
        NonFiniteError: a residual is NaN or infinite.
    """

    def __init__(
        self,
        source: ResidualSource,
        layer: int,
        *,
        rows: int,
        batch_size: int,
        seed: int,
        device: torch.device,
    ):
        if layer not in source.layers:
            there = ", ".join(map(str, source.layers))
            raise LayerError("no residuals of this layer", where=f"layer {layer}", cure=f"choose from {there}")
        self._source, self._layer, self.batch_size = source, layer, batch_size
        self.buffer = ShuffleBuffer(source, layer, rows=rows, batch_size=batch_size, seed=seed, device=device)
        self.mean = self.buffer.rows.mean(0)
        """[d_in], of the raw residuals."""
        # In parts: the centred rows of a whole buffer would take as much memory as the buffer.
        norms = torch.cat([(part - self.mean).norm(dim=1) for part in self.buffer.rows.split(_NORM_ROWS)])
        self.scale = math.sqrt(len(self.mean)) / max(norms.mean().item(), 1e-12)
        """Inputs are (x - mean) times this."""
        drawn = torch.randperm(len(self.buffer.rows), generator=torch.Generator().manual_seed(seed))[:CALIBRATION_ROWS]
        self.calibration_rows = self.buffer.rows[drawn.to(device)]
        """[m, d_in] raw train residuals, drawn from the first filling of the buffer."""
        self.sample = (self.buffer.rows[:_SAMPLE_ROWS] - self.mean) * self.scale
        """[m, d_in] some inputs."""

    def batches(self, after: int = 0) -> Iterator[Tensor]:
        """Normalised batches [batch_size, d_in] without end, see ``ShuffleBuffer.batches``."""
        return ((batch - self.mean).mul_(self.scale) for batch in self.buffer.batches(after))

    def epochs(self, n_tokens: int) -> float:
        """Passes over the train split that so many tokens are; NaN if it is streamed and has not been read to its end."""
        if self.buffer.holds_all:
            return n_tokens / len(self.buffer.rows)
        return float(self.buffer.epochs or math.nan)

    def held_out(self) -> Tensor:
        """[m, d_in] raw residuals of the val split, the first of them where there are many.

        Raises:
            CorpusError: there are none.
        """
        found: list[Tensor] = []
        left = HELD_OUT_ROWS
        for block in self._source.blocks([self._layer], ["val"]):
            check_finite(block)
            found.append(block.residuals[self._layer][:left].detach().to(self.mean.device, torch.float32))
            left -= len(found[-1])
            if left <= 0:
                break
        if not found:
            cure = "collect more documents, or leave held_out_every out"
            raise CorpusError(
                "no val residuals to measure the held-out FVU on", where=f"layer {self._layer}", cure=cure
            )
        return torch.cat(found)

    def close(self) -> None:
        """Stop reading the source."""
        self.buffer.close()
