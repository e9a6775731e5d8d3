"""Residual sources over what is there already: arrays in memory, and the first tokens of another source."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import torch

from ato.errors import LayerError
from ato.residuals.attended import Attended
from ato.residuals.blocks import ResidualBlock, ResidualSource
from ato.residuals.position_policies import Layer
from ato.text.splits import in_splits


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
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """The first blocks of the source; the last is cut where the tokens are reached."""
        left = self._n_tokens
        for block in self._source.blocks(layers, splits):
            yield block if block.n <= left else block.select(np.arange(block.n) < left)
            left -= block.n
            if left <= 0:
                return


class MemorySource:
    """A residual source over arrays in memory, for notebooks and tests.

    Args:
        residuals: layer -> [n, d].
        document: [n] document numbers; default one document.
        group: [n] indices into ``group_names(n_folds)``; default all in the first train fold.
        block_rows: rows a block.
        sequence_id: [n]; default one sequence a document.
        position: [n]; default numbers all rows.
        attended: layer -> the attended positions of the n tokens.
    """

    def __init__(
        self,
        residuals: Mapping[int, torch.Tensor],
        *,
        document: np.ndarray | None = None,
        group: np.ndarray | None = None,
        n_folds: int = 5,
        block_rows: int = 4096,
        sequence_id: np.ndarray | None = None,
        position: np.ndarray | None = None,
        attended: dict[int, Attended] | None = None,
    ):
        self.layers = tuple(sorted(residuals))
        self.d_model = residuals[self.layers[0]].shape[1]
        self.n_folds = n_folds
        self._block_rows = block_rows
        n = len(residuals[self.layers[0]])
        document = np.zeros(n, dtype=np.int64) if document is None else np.asarray(document, dtype=np.int64)
        self._all = ResidualBlock(
            {layer: torch.as_tensor(x, dtype=torch.float32) for layer, x in residuals.items()},
            sequence_id=document if sequence_id is None else np.asarray(sequence_id, dtype=np.int64),
            position=np.asarray(np.arange(n) if position is None else position, dtype=np.int32),
            token_id=np.zeros(n, dtype=np.int32),
            document=document,
            group=np.zeros(n, dtype=np.int16) if group is None else np.asarray(group, dtype=np.int16),
            attended=attended or {},
        )

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Consecutive blocks of ``block_rows`` rows."""
        wanted = self.layers if layers is None else tuple(layers)
        if missing := sorted(set(wanted) - set(self.layers)):
            raise LayerError(f"this source has no layers {missing}", cure=f"choose from {list(self.layers)}")
        for start in range(0, self._all.n, self._block_rows):
            rows = np.zeros(self._all.n, dtype=bool)
            rows[start : start + self._block_rows] = True
            rows &= in_splits(self._all.group, splits, self.n_folds)
            if rows.any():
                yield self._all.select(rows).at(wanted)
