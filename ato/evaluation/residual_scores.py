"""Scores of transport operators in residual space, on held-out tokens, with intervals by document.

One accumulator serves all operators of one layer pair: what depends on the target alone (its sums of squares, its
whitened norm, its difference to the source) is computed once, and each operator adds two matrix products.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from ato.errors import DataError, InputError, MismatchError
from ato.evaluation.error_sums import ErrorSums, Target, TargetSums, error_sums, target_sums
from ato.evaluation.residual_formulas import SCORES, ResidualScore, TargetSquares, five_scores, varying
from ato.moments.whitening import RESOLUTION, Whitening, groups_of
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.matmul import matmul
from ato.numerics.parallel import run_tasks
from ato.numerics.scales import UNEXPLAINED
from ato.numerics.sums import arrays_of, total
from ato.operators.operator import AffineMap
from ato.residuals.blocks import ResidualBlock
from ato.residuals.pairing import pair_rows
from ato.residuals.position_policies import Layer

if TYPE_CHECKING:
    from ato.moments.moments import Moments


SLICE_ROWS = 2048
"""Rows scored at a time: what is made on the way stays small, whatever the size of a block."""

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class _Constants(Generic[Array]):
    """What rows are compared with: train means, the whitening, and the operators as maps of centred rows."""

    x_mean: Array
    """[d_in]"""
    y_mean: Array
    """[d_out]"""
    update_mean: Array | None
    """[d] mean of y - x; None where x has another width."""
    whitening: Array
    """[d_out, k]"""
    matrices: tuple[Array | None, ...]
    """[d_in, d_out] of each operator; None where it is all zero, 1 where it is the identity."""
    biases: tuple[Array, ...]
    """[d_out] of each operator."""


@dataclass(frozen=True)
class _PairSums:
    """Sums per document over the rows seen."""

    target: TargetSums
    errors: tuple[ErrorSums, ...]
    """Of each operator."""


class PairScores:
    """Accumulates, per document, the errors of several operators of one layer pair.

    Args:
        moments: their train groups give the whitening of the target and the means that are subtracted before
            anything is squared.
        source_layer, target_layer: the pair.
        operators: name -> operator from source to target.
        whitened: False leaves ``r2_whitened`` unknown, which saves half of the work.
        single: rows will be float32, as those of blocks are: the operators are kept in that precision alone.

    Raises:
        LayerError: the moments lack a layer.
        InputError: an operator of another shape.
    """

    def __init__(
        self,
        moments: "Moments",
        source_layer: Layer,
        target_layer: int,
        operators: Mapping[str, AffineMap],
        *,
        whitened: bool = True,
        single: bool = False,
    ):
        target = Whitening.of_layer(moments, target_layer)
        source_mean = moments.variation(source_layer, groups_of(moments, "train"))[1]
        self.source_layer, self.target_layer = source_layer, target_layer
        self.operators = tuple(operators)
        """Their names."""
        self._whitened = whitened
        d_in, d_out = len(source_mean), len(target.mean)
        for name, operator in operators.items():
            if operator.matrix.shape != (d_out, d_in):
                raise InputError(
                    f"operator {name!r} has shape {operator.matrix.shape}",
                    where=f"layers {source_layer} -> {target_layer}",
                    cure=f"score operators of the shape {(d_out, d_in)} here",
                )
        # Rounded once, so that the bias can be corrected for exactly what is subtracted.
        x_mean, y_mean = (mean.astype(np.float32).astype(np.float64) for mean in (source_mean, target.mean))
        maps, kept = operators.values(), np.dtype(np.float32 if single else np.float64)
        self._constants = _Constants(
            x_mean=x_mean,
            y_mean=y_mean,
            update_mean=y_mean - x_mean if d_in == d_out else None,
            whitening=target.matrix,
            matrices=tuple(_matrix_of(operator, kept) for operator in maps),
            biases=tuple(operator.matrix @ x_mean + operator.bias - y_mean for operator in maps),
        )
        self._sums: DocumentSums[_PairSums] = DocumentSums()
        self._tensors: dict[tuple[torch.dtype, torch.device], _Constants[torch.Tensor]] = {}
        # Made before any block comes: between a block's temporaries they would pin the memory that those leave.
        self._like(torch.empty(0))

    def update(
        self, x: torch.Tensor | ResidualBlock, y: torch.Tensor | None = None, document: np.ndarray | None = None
    ) -> "PairScores":
        """Take rows into account.

        Args:
            x: [n, d_in] source residuals, or a block that holds both layers.
            y: [n, d_out] target residuals.
            document: [n] document numbers, any integers.

        Products are made in float32 (float64 for float64 rows); sums over documents are float64.
        """
        x, y, document = pair_rows(x, y, document, self.source_layer, self.target_layer)
        for start in range(0, len(document), SLICE_ROWS):
            part = slice(start, start + SLICE_ROWS)
            self._update(x[part], y[part], document[part])
        return self

    def _update(self, x: torch.Tensor, y: torch.Tensor, document: np.ndarray) -> None:
        segments, constants = Segments.of(document), self._like(y)
        x, y = segments.arrange(x), segments.arrange(y)
        x_centred, y_centred = x - constants.x_mean, y - constants.y_mean
        white = matmul(y_centred, constants.whitening) if self._whitened else None
        target = Target(segments, x_centred, y, y_centred, torch.linalg.vector_norm(y, dim=1), white)
        sums = target_sums(target, x, constants.update_mean)
        maps = zip(constants.matrices, constants.biases, strict=True)
        errors = run_tasks([partial(error_sums, target, matrix, bias, constants.whitening) for matrix, bias in maps])
        self._sums.add(segments.documents, _PairSums(sums, tuple(errors)))

    def _like(self, rows: torch.Tensor) -> _Constants[torch.Tensor]:
        """The constants in the type and on the device of the rows, converted once."""
        key = rows.dtype, rows.device
        if key not in self._tensors:
            self._tensors[key] = _as_tensors(self._constants, *key)
        return self._tensors[key]

    def __add__(self, other: "PairScores") -> "PairScores":
        """Scores over the tokens of both; MismatchError for other operators or moments."""
        if self._signature() != other._signature():
            raise MismatchError("scores of different operators", cure="merge scores of the same operators only")
        merged = copy(self)
        merged._sums = self._sums + other._sums
        return merged

    def _signature(self) -> list[object]:
        """What two accumulators must share to be merged."""
        return [self.operators, *((array.shape, array.tobytes()) for array in arrays_of(self._constants))]

    def result(self) -> dict[str, ResidualScore]:
        """Name -> scores with intervals.

        The means that squares are taken about are those of the tokens left in. They lie nearer to few documents than the
        true ones, which biases every dimension alike: intervals are corrected for it, see ``ato.numerics.intervals``.

        Raises:
            DataError: no token was seen.
        """
        sums = self._by_document()
        estimates = document_interval(sums, self._scores, sums.target.n, UNEXPLAINED, corrected=True)  # [operators, 5]
        n, results = sums.target.n.sum(), {}
        for i, (name, errors) in enumerate(zip(self.operators, total(sums.errors), strict=True)):
            results[name] = ResidualScore(
                n=int(n),
                n_documents=len(self._sums),
                **{score: estimates[i, j] for j, score in enumerate(SCORES)},
                mse=float(errors.squares.sum() / (n * errors.squares.size)),
                cosine=float(np.clip(errors.of_rows[0, 1] / n, -1, 1)),
            )
        return results

    def difference(self, first: str, second: str, score: str = "r2_weighted") -> Estimate:
        """Score of one operator minus that of another, each document left out of both.

        Args:
            first, second: names of operators.
            score: one of ``SCORES``.

        Raises:
            DataError: no token was seen.
        """
        column = SCORES.index(score)
        i, j = self.operators.index(first), self.operators.index(second)

        def differences(sums: _PairSums) -> np.ndarray:
            scores = self._scores(sums)[:, :, column]
            difference: np.ndarray = scores[:, i] - scores[:, j]
            return difference

        sums = self._by_document()
        return document_interval(sums, differences, sums.target.n, corrected=True).item()

    def _by_document(self) -> _PairSums:
        if not len(self._sums):
            raise DataError("no tokens were scored", cure="choose a split that is not empty")
        return self._sums.sums()

    def _scores(self, sums: _PairSums) -> np.ndarray:
        """The five scores of every operator from sums [b, ...]: [b, operators, 5]; NaN for what does not vary."""
        n, y, update = sums.target.n, sums.target.y, sums.target.update
        rounding = n[:, None] * (RESOLUTION * np.abs(self._constants.y_mean)) ** 2
        white = sums.target.white - np.square(y @ self._constants.whitening).sum(1) / n
        white_varies = self._whitened & (white > 1e-6 * sums.target.white)
        squares = TargetSquares(
            y=_about_mean(n, y, sums.target.yy, rounding),
            white=white * _one_or_nan(white_varies),
            update=np.full((len(n), 1), np.nan) if update is None else _about_mean(n, update.u, update.uu, rounding),
            identity=np.full(len(n), np.nan) if update is None else varying(update.identity, 0),
        )
        scores = [five_scores(errors.squares, errors.of_rows[:, 0], squares) for errors in sums.errors]
        return np.stack(scores, axis=1)


def _matrix_of(operator: AffineMap, dtype: np.dtype) -> np.ndarray | None:
    """The matrix for rows, [d_in, d_out]; None where it is zero, and 1 where it is the identity: no product is needed."""
    matrix = operator.matrix
    if not matrix.any():
        return None
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
        return np.ones((), dtype)
    return matrix.T.astype(dtype, order="C")


def _as_tensors(
    constants: _Constants[np.ndarray], dtype: torch.dtype, device: torch.device
) -> _Constants[torch.Tensor]:
    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.require(array, requirements=["C", "W"]), dtype=dtype, device=device)

    def tensor_or_none(array: np.ndarray | None) -> torch.Tensor | None:
        return None if array is None else tensor(array)

    return _Constants(
        x_mean=tensor(constants.x_mean),
        y_mean=tensor(constants.y_mean),
        update_mean=tensor_or_none(constants.update_mean),
        whitening=tensor(constants.whitening),
        matrices=tuple(map(tensor_or_none, constants.matrices)),
        biases=tuple(map(tensor, constants.biases)),
    )


def _about_mean(n: np.ndarray, sums: np.ndarray, squares: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Squares about the mean [b, d], from n [b], sums and squares [b, d]; NaN where only rounding is left."""
    about = squares - sums**2 / n[:, None]
    known: np.ndarray = about * _one_or_nan(about > np.maximum(1e-6 * squares, rounding))
    return known


def _one_or_nan(known: np.ndarray | bool) -> np.ndarray:
    return np.where(known, 1.0, np.nan)
