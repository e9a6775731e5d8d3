"""The beginning of a residual source: its first n tokens, without reading on."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ato.residuals import ResidualBlock, ResidualSource


class FirstTokens:
    """A residual source that ends after ``n_tokens`` tokens of each pass; blocks behind them are not read.

    Args:
        source: whose beginning it is.
        n_tokens: tokens a pass; all if there are no more.
    """

    def __init__(self, source: ResidualSource, n_tokens: int):
        self.layers, self.d_model, self.n_folds = source.layers, source.d_model, source.n_folds
        self._source, self._n_tokens = source, n_tokens

    def blocks(
        self, layers: Sequence[int] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """The first blocks of the source; the last is cut where the tokens are reached."""
        left = self._n_tokens
        for block in self._source.blocks(layers, splits):
            yield block if block.n <= left else block.select(np.arange(block.n) < left)
            left -= block.n
            if left <= 0:
                return
