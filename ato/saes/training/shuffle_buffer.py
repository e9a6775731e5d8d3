"""Endless shuffled batches of one layer's residuals, in bounded memory."""

from collections.abc import Generator, Iterator

import torch

from ato.errors import CorpusError, SettingsError
from ato.residuals.blocks import ResidualSource, check_finite


class ShuffleBuffer:
    """Endless batches of one layer's train residuals, mixed in a buffer of ``rows`` rows.

    If the train split fits, it is read once and every epoch is a fresh permutation of it. If not, half of the buffer
    is handed out in random order and refilled from the source, which is read again when it ends: a token waits in the
    buffer for two refills on average, so a batch mixes tokens of many documents.

    The buffer and its batches are on ``device``; the order of tokens is the same on every device.

    Raises:
        CorpusError: the source has no train residuals.
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
        device: torch.device | str = "cpu",
    ):
        if rows < 2 * batch_size:
            raise SettingsError(
                f"a shuffle buffer of {rows} rows is too small for batches of {batch_size}",
                cure=f"set buffer_rows to at least {2 * batch_size}",
            )
        self._source, self._layer, self._device = source, layer, device
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._pieces = self._stream()
        self._left: torch.Tensor | None = None
        self.epochs = 0
        self._buffer, self.holds_all = self._first_fill(rows)

    @property
    def rows(self) -> torch.Tensor:
        """[rows, d] residuals now in the buffer."""
        return self._buffer

    def batches(self, after: int = 0) -> Iterator[torch.Tensor]:
        """Batches [batch_size, d] without end.

        Args:
            after: batches to leave out, which a training that goes on has seen; their residuals are read where the
                buffer does not hold all.
        """
        return self._epochs(after) if self.holds_all else self._halves(after)

    def close(self) -> None:
        """Stop reading the source."""
        self._pieces.close()

    def _stream(self) -> Generator[torch.Tensor, None, None]:
        """Train residuals, epoch after epoch."""
        while True:
            rows = 0
            for block in self._source.blocks([self._layer], ["train"]):
                check_finite(block)
                rows += block.n
                yield block.residuals[self._layer].detach().to(self._device, torch.float32)
            if rows == 0:
                raise CorpusError("no train residuals", where=f"layer {self._layer}", cure="collect more documents")
            self.epochs += 1

    def _first_fill(self, rows: int) -> tuple[torch.Tensor, bool]:
        """The first ``rows`` rows, and whether they are all there are."""
        buffer: torch.Tensor | None = None
        filled = 0
        for piece in self._pieces:
            if self.epochs:
                break
            if buffer is None:
                buffer = torch.empty(rows, piece.shape[1], device=self._device)
            taken = min(len(piece), rows - filled)
            buffer[filled : filled + taken] = piece[:taken]
            filled += taken
            if taken < len(piece):
                self._left = piece[taken:]
                return buffer, False
        assert buffer is not None  # an empty source has raised
        self._pieces.close()
        return buffer[:filled].clone() if filled < rows // 2 else buffer[:filled], True

    def _epochs(self, after: int) -> Iterator[torch.Tensor]:
        order = torch.empty(0, dtype=torch.int64, device=self._device)
        while True:
            while len(order) < self.batch_size:
                order = torch.cat([order, self._permutation()])
            if after:
                after -= 1
            else:
                yield self._buffer[order[: self.batch_size]]
            order = order[self.batch_size :]

    def _permutation(self) -> torch.Tensor:
        return torch.randperm(len(self._buffer), generator=self._generator).to(self._device)

    def _halves(self, after: int) -> Iterator[torch.Tensor]:
        n_batches = len(self._buffer) // 2 // self.batch_size
        while True:
            chosen = self._permutation()[: n_batches * self.batch_size]
            skipped = min(after, n_batches)
            after -= skipped
            for start in range(skipped * self.batch_size, len(chosen), self.batch_size):
                yield self._buffer[chosen[start : start + self.batch_size]]
            self._refill(chosen)

    def _refill(self, slots: torch.Tensor) -> None:
        filled = 0
        while filled < len(slots):
            piece = next(self._pieces) if self._left is None else self._left
            taken = min(len(piece), len(slots) - filled)
            self._buffer[slots[filled : filled + taken]] = piece[:taken]
            filled += taken
            self._left = piece[taken:] if taken < len(piece) else None
