"""Attention as a statistic needs it: the few source positions that each kept token attends to most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import SettingsError
from ato.residuals.token_index import TokenIndex


@dataclass(frozen=True)
class Attended:
    """The source positions that n tokens attend to most, in one block of the model, largest weight first.

    Only kept tokens are ever sources, so the weights of a token sum to less than 1 where it also attends to
    tokens that were left out, such as position 0.
    """

    positions: np.ndarray
    """[n, k] int32, positions in the token's own sequence; -1 where it attends to fewer kept tokens."""
    weights: np.ndarray
    """[n, k] float32, attention weights averaged over the heads; 0 where there is no position."""

    @property
    def k(self) -> int:
        """Positions kept for each token."""
        return self.positions.shape[1]

    @classmethod
    def join(cls, parts: Sequence["Attended"]) -> "Attended":
        """The tokens of several, in order; all of the same k."""
        return cls(np.concatenate([p.positions for p in parts]), np.concatenate([p.weights for p in parts]))

    def select(self, mask: np.ndarray) -> "Attended":
        """The tokens where the boolean mask [n] is true."""
        return Attended(self.positions[mask], self.weights[mask])

    def top(self, k: int) -> "Attended":
        """The k most attended positions of each token.

        Raises:
            SettingsError: fewer than k were kept.
        """
        if k > self.k:
            cure = f"collect with --set collect.attention_top_k={k}, or choose a smaller k"
            raise SettingsError(f"{k} attended positions per token requested, {self.k} stored", cure=cure)
        return Attended(self.positions[:, :k], self.weights[:, :k])

    def among(self, sequence_id: np.ndarray, position: np.ndarray) -> "Attended":
        """The same without the positions that are none of the tokens'; the others move up.

        Args:
            sequence_id: [n], of these very tokens.
            position: [n].
        """
        rows = TokenIndex(sequence_id, position).rows(sequence_id[:, None], self.positions)
        order = np.argsort(rows < 0, axis=1, kind="stable")
        positions = np.where(rows >= 0, self.positions, np.int32(-1))
        weights = np.where(rows >= 0, self.weights, np.float32(0))
        return Attended(np.take_along_axis(positions, order, 1), np.take_along_axis(weights, order, 1))


def most_attended(weights: torch.Tensor, cells: torch.Tensor, kept: torch.Tensor, k: int) -> Attended:
    """The k most attended kept positions of some tokens of a batch.

    Args:
        weights: [b, t, t] float32, from each token (second axis) to each position (third), averaged over heads.
        cells: [n], the tokens wanted, as indices into [b * t].
        kept: [b, t] bool, the tokens that may be sources.
        k: positions a token.
    """
    cells, width = cells.to(weights.device), weights.shape[2]
    rows = weights.flatten(0, 1)[cells] * kept.to(weights.device)[cells // width]  # [n, t]
    largest, at = rows.topk(min(k, width), dim=1)
    # A weight of exactly 0 is a masked position: later tokens, and those outside a sliding window.
    at = at.masked_fill(largest <= 0, -1)
    padding = ((0, 0), (0, k - at.shape[1]))
    return Attended(
        np.pad(at.cpu().numpy().astype(np.int32), padding, constant_values=-1),
        np.pad(largest.float().cpu().numpy(), padding),
    )
