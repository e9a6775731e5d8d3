"""Canonical modes on held-out tokens: one pass gives every rank's ceiling, best operator and efficiency at once.

The whitened reduced-rank operator of rank r predicts canonical variate v_i by rho_i u_i for i <= r and by 0 beyond.
Per-document sums of u, v and their products therefore hold the held-out correlations and the whitened R2 of the
operators of all ranks; nothing depends on the number of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import DataError, MismatchError
from ato.evaluation.ceilings import CanonicalModes, checked_rank, correlation
from ato.evaluation.subspace_sizes import SubspaceSizes, subspace_sizes
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, EstimateArray, document_interval, number_or_none
from ato.numerics.sums import total
from ato.residuals.blocks import ResidualBlock
from ato.residuals.pairing import pair_rows

SATURATED = 0.95
"""Share of the largest R2 over all ranks at which the curve counts as saturated."""


@dataclass(frozen=True)
class RankScore:
    """One rank of one pair on held-out tokens."""

    rank: int
    ceiling_in_sample: float
    """(1/d) sum of the first squared correlations on train."""
    ceiling_held_out: Estimate
    """The same directions, correlations re-measured on the held-out tokens."""
    r2_rrr: Estimate
    """Whitened R2 of the rank-r operator that is optimal in the whitened metric; None without variance to explain."""
    efficiency: Estimate
    """r2_rrr / ceiling_held_out; None where that ceiling is 0."""


@dataclass(frozen=True)
class ModeResult:
    """All that one pass over held-out tokens says about the canonical modes of a pair."""

    n: int
    n_documents: int
    rho_held_out: np.ndarray
    """[m], about the held-out means; NaN where a variate does not vary."""
    sizes_held_out: SubspaceSizes
    rank_saturation: int | None
    """Smallest rank whose ``r2_rrr`` is 95 % of the largest over all ranks; None where no rank has a positive one."""
    ranks: tuple[RankScore, ...]


@dataclass(frozen=True)
class _VariateSums:
    """Sums per document of the canonical variates u [m] of x and v [d_kept] of y, which have partners up to m."""

    n: np.ndarray
    """Rows."""
    u: np.ndarray
    uu: np.ndarray
    """Squares."""
    uv: np.ndarray
    """[documents, m] products of partners."""
    v: np.ndarray
    vv: np.ndarray


class ModeScores:
    """Accumulates, per document, the sums of canonical variates on held-out tokens.

    Args:
        modes: directions from train.
    """

    def __init__(self, modes: CanonicalModes):
        self.modes = modes
        self._sums: DocumentSums[_VariateSums] = DocumentSums()
        self._y_basis = modes.y_whitening.matrix

    def update(
        self, x: torch.Tensor | ResidualBlock, y: torch.Tensor | None = None, document: np.ndarray | None = None
    ) -> "ModeScores":
        """Take rows into account.

        Args:
            x: [n, d_in] source residuals, or a block that holds both layers of the modes.
            y: [n, d_out] target residuals.
            document: [n] document numbers, any integers.

        Products are made in float32 (float64 for float64 rows) on rows less their train means.
        """
        x, y, document = pair_rows(x, y, document, self.modes.source_layer, self.modes.target_layer)
        if not len(document):
            return self
        segments = Segments.of(document)
        u = segments.arrange(_variates(x, self.modes.mean_x, self.modes.x_directions))  # [n, m]
        v = segments.arrange(_variates(y, self.modes.mean_y, self._y_basis))  # [n, d_kept]
        rows = (u, u * u, u * v[:, : u.shape[1]], v, v * v)
        n = np.array(segments.lengths, dtype=np.float64)
        self._sums.add(segments.documents, _VariateSums(n, *map(segments.sums, rows)))
        return self

    def __add__(self, other: "ModeScores") -> "ModeScores":
        """Scores over the tokens of both; MismatchError for other modes."""
        if other.modes is not self.modes and not np.array_equal(other.modes.x_directions, self.modes.x_directions):
            raise MismatchError("scores of different canonical modes", cure="merge scores of the same modes only")
        merged = ModeScores(self.modes)
        merged._sums = self._sums + other._sums
        return merged

    @property
    def n(self) -> int:
        """Tokens seen."""
        return int(self._by_document().n.sum())

    @property
    def rho_held_out(self) -> np.ndarray:
        """[m] correlations of the train directions on the tokens seen, about their own means; NaN if not measurable."""
        rho: np.ndarray = _correlations(total(self._by_document()))[0]
        return rho

    def ceiling_held_out(self, rank: int) -> float:
        """(1/d_kept) sum_{i<=rank} rho_held_out_i^2."""
        return float(self._curves(total(self._by_document()), [rank])[0, 0, 0])

    def r2_rrr(self, rank: int) -> float | None:
        """Whitened R2 of the whitened reduced-rank operator (least squares in the kept directions), over all d_kept."""
        return number_or_none(self._curves(total(self._by_document()), [rank])[0, 0, 1])

    def efficiency(self, rank: int) -> float | None:
        """r2_rrr / ceiling_held_out; None where that ceiling is 0."""
        return number_or_none(self._curves(total(self._by_document()), [rank])[0, 0, 2])

    def result(self, ranks: Sequence[int]) -> ModeResult:
        """Scores of all given ranks with their intervals.

        Squared correlations are too large from few documents, and squares about their own mean too small: both biases are
        the same for every mode, and intervals are corrected for them, see ``ato.numerics.intervals``.

        Raises:
            DataError: no token was seen.
            InputError: a rank below 1.
        """
        sums = self._by_document()
        curves = _possible(document_interval(sums, lambda some: self._curves(some, ranks), sums.n, corrected=True))
        scores = [
            RankScore(rank, self.modes.ceiling(rank), curves[i, 0], curves[i, 1], curves[i, 2])
            for i, rank in enumerate(ranks)
        ]
        rho = self.rho_held_out
        every_r2 = self._curves(total(sums), range(1, len(rho) + 1))[0, :, 1]
        return ModeResult(self.n, len(self._sums), rho, subspace_sizes(rho), _saturation(every_r2), tuple(scores))

    def _by_document(self) -> _VariateSums:
        if not len(self._sums):
            raise DataError("no held-out tokens", cure="choose a split that is not empty")
        return self._sums.sums()

    def _curves(self, sums: _VariateSums, ranks: Sequence[int]) -> np.ndarray:
        """Held-out ceiling, whitened R2 and efficiency from sums [b, ...]: [b, ranks, 3]."""
        rho, n = self.modes.rho_in_sample, sums.n
        gains = np.nan_to_num(_correlations(sums)) ** 2
        modes = np.array([min(checked_rank(rank), gains.shape[1]) for rank in ranks], dtype=int)
        ceiling = _cumulative(gains)[:, modes] / self.modes.d_kept
        explained = 2 * rho * sums.uv - rho**2 * sums.uu  # what each mode takes off the errors of rank 0
        sse = sums.vv.sum(1)[:, None] - _cumulative(explained)[:, modes]
        about_mean = (sums.vv - sums.v**2 / n[:, None]).sum(1)
        sst = np.where(about_mean > 1e-10 * n, about_mean, np.nan)
        r2 = 1 - np.maximum(sse, 0) / sst[:, None]  # rounding may leave an exact fit below 0
        efficiency = np.divide(r2, ceiling, out=np.full_like(r2, np.nan), where=ceiling > 0)
        return np.stack([ceiling, r2, efficiency], axis=-1)


def _possible(curves: EstimateArray) -> EstimateArray:
    """The same with limits that the scores [ranks, 3] can reach: a ceiling from 0 to 1, an R2 up to 1."""
    low, high = curves.low.copy(), curves.high.copy()
    low[:, 0] = np.maximum(low[:, 0], 0)
    high[:, :2] = np.minimum(high[:, :2], 1)
    return EstimateArray(curves.value, np.minimum(low, curves.value), np.maximum(high, curves.value))


def _saturation(r2: np.ndarray) -> int | None:
    """Smallest rank, from 1, that reaches 95 % of the largest of the values [m]; None where none is positive."""
    largest = np.nan_to_num(r2).max(initial=0.0)
    return int(np.argmax(np.nan_to_num(r2) >= SATURATED * largest)) + 1 if largest > 0 else None


def _variates(rows: torch.Tensor, mean: np.ndarray, directions: np.ndarray) -> torch.Tensor:
    mean_, directions_ = (torch.as_tensor(a.copy(), dtype=rows.dtype, device=rows.device) for a in (mean, directions))
    return (rows - mean_) @ directions_


def _correlations(sums: _VariateSums) -> np.ndarray:
    """Correlations [b, m] of partners from sums [b, ...], about their means."""
    n, m = sums.n[:, None], sums.uv.shape[1]
    u, v = sums.u / n, sums.v[:, :m] / n
    return correlation(sums.uv / n - u * v, sums.uu / n - u**2, sums.vv[:, :m] / n - v**2)


def _cumulative(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., m columns of [b, m]."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
