"""Scores of transport operators in residual space, on held-out tokens, with document-bootstrap intervals.

One accumulator serves all operators of one layer pair: what depends on the target alone (its sums of squares, its
whitened norm, its difference to the source) is computed once, and each operator adds two matrix products.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.errors import DataError, InputError, MismatchError
from ato.evaluation.error_sums import Target, error_sums
from ato.evaluation.residual_formulas import SCORES, ResidualScore, five_scores, named_scores, varying
from ato.moments.pair import PairMoments
from ato.moments.whitening import RESOLUTION, Whitening, groups_of
from ato.numerics.bootstrap import document_bootstrap, number_or_none
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.matmul import matmul
from ato.numerics.parallel import run_tasks
from ato.operators.operator import AffineMap
from ato.residuals.blocks import ResidualBlock
from ato.residuals.pairing import pair_rows

if TYPE_CHECKING:
    from ato.moments.moments import Moments


SLICE_ROWS = 2048
"""Rows scored at a time: what is made on the way stays small, whatever the size of a block."""


class PairScores:
    """Accumulates, per document, the errors of several operators of one layer pair.

    Args:
        moments: their train groups give the whitening of the target and the means that are subtracted before
            anything is squared.
        source_layer, target_layer: the pair.
        operators: name -> operator from source to target.
        whitened: False leaves ``r2_whitened`` unknown, which saves half of the work.

    Raises:
        LayerError: the moments lack a layer.
        InputError: an operator of another shape.
    """

    def __init__(
        self,
        moments: "Moments",
        source_layer: int,
        target_layer: int,
        operators: Mapping[str, AffineMap],
        *,
        whitened: bool = True,
    ):
        source, self._whitening = (Whitening.of_layer(moments, layer) for layer in (source_layer, target_layer))
        self.source_layer, self.target_layer, self.operators = source_layer, target_layer, dict(operators)
        self._whitened = whitened
        self._d_in, self._d_out = len(source.mean), len(self._whitening.mean)
        for name, operator in self.operators.items():
            if operator.matrix.shape != (self._d_out, self._d_in):
                raise InputError(
                    f"operator {name!r} has the shape {operator.matrix.shape}",
                    where=f"layers {source_layer} -> {target_layer}",
                    cure=f"score operators of the shape {(self._d_out, self._d_in)} here",
                )
        # Rounded once, so that the bias can be corrected for exactly what is subtracted.
        x_mean, y_mean = (w.mean.astype(np.float32).astype(np.float64) for w in (source, self._whitening))
        self._constants = {"x_mean": x_mean, "y_mean": y_mean, "whitening": self._whitening.matrix}
        if self._d_in == self._d_out:
            self._constants["update_mean"] = y_mean - x_mean
        for name, operator in self.operators.items():
            self._constants[f"matrix/{name}"] = operator.matrix.T
            self._constants[f"bias/{name}"] = operator.matrix @ x_mean + operator.bias - y_mean
        self._sums = DocumentSums()
        self._tensors: dict[tuple[str, torch.dtype, torch.device], torch.Tensor] = {}
        # Made before any block comes: between a block's temporaries they would pin the memory that those leave.
        for name in self._constants:
            self._tensor(name, torch.empty(0))

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
        segments = Segments.of(document)
        x, y = segments.arrange(x), segments.arrange(y)
        x_centred, y_centred = x - self._tensor("x_mean", y), y - self._tensor("y_mean", y)
        sums = {"n": np.array(segments.lengths, dtype=np.float64)}
        white = matmul(y_centred, self._tensor("whitening", y)) if self._whitened else None
        sums |= self._target_sums(x, y, y_centred, white, segments)
        target = Target(segments, x_centred, y, y_centred, torch.linalg.vector_norm(y, dim=1), white)
        arguments = [
            (self._tensor(f"matrix/{name}", y) if operator.matrix.any() else None, self._tensor(f"bias/{name}", y))
            for name, operator in self.operators.items()
        ]
        whitening = self._tensor("whitening", y)
        tasks = [partial(error_sums, target, matrix, bias, whitening) for matrix, bias in arguments]
        for name, (sse, rows) in zip(self.operators, run_tasks(tasks), strict=True):
            sums |= {f"sse/{name}": sse, f"rows/{name}": rows}
        self._sums.add(segments.documents, sums)

    def _target_sums(
        self, x: torch.Tensor, y: torch.Tensor, y_centred: torch.Tensor, white: torch.Tensor | None, segments: Segments
    ) -> dict[str, np.ndarray]:
        """What every operator's scores share: sums of y and of y - x, their squares, and the whitened square."""
        white = y_centred[:, :1] if white is None else white
        sums = {
            "y": segments.sums(y_centred),
            "yy": segments.sums(y_centred * y_centred),
            "white": segments.sums(torch.linalg.vecdot(white, white).double()),
        }
        if self._d_in == self._d_out:
            update = y - x
            sums["identity"] = segments.sums(torch.linalg.vecdot(update, update).double())
            update -= self._tensor("update_mean", y)
            sums |= {"u": segments.sums(update), "uu": segments.sums(update * update)}
        return sums

    def _tensor(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """A constant in the type and on the device of the rows, converted once."""
        key = name, like.dtype, like.device
        if key not in self._tensors:
            self._tensors[key] = torch.as_tensor(self._constants[name].copy(), dtype=like.dtype, device=like.device)
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
        return [(name, array.shape, array.tobytes()) for name, array in self._constants.items()]

    def result(self, n_boot: int = 1000, seed: int = 0) -> dict[str, ResidualScore]:
        """Name -> scores with intervals; all operators see the same resamples.

        Raises:
            DataError: no token was seen.
            InputError: fewer than 40 resamples.
        """
        if not len(self._sums):
            raise DataError("no token was scored", cure="choose a split that is not empty")
        statistics = self._statistics()
        total = {name: values.sum(0, keepdims=True) for name, values in statistics.items()}
        point = self._scores(total)[0]  # [operators, 5]
        low, high = document_bootstrap(statistics, self._scores, n_boot, seed)
        if low is None or high is None:
            low = high = np.full_like(point, np.nan)
        n = total["n"][0]
        results = {}
        for i, name in enumerate(self.operators):
            results[name] = ResidualScore(
                n=int(n),
                n_documents=len(self._sums),
                **named_scores(point[i], low[i], high[i]),
                mse=float(total[f"sse/{name}"].sum() / (n * self._d_out)),
                cosine=float(np.clip(total[f"rows/{name}"][0, 1] / n, -1, 1)),
            )
        return results

    def difference(
        self, first: str, second: str, score: str = "r2_weighted", *, n_boot: int = 1000, seed: int = 0
    ) -> tuple[float | None, float | None, float | None]:
        """Score of one operator minus that of another with its interval: both see the same resamples.

        Args:
            first, second: names of operators.
            score: one of ``SCORES``.

        Returns:
            The difference and its limits; None where it is not known.

        Raises:
            DataError: no token was seen.
        """
        if not len(self._sums):
            raise DataError("no token was scored", cure="choose a split that is not empty")
        names, column = list(self.operators), SCORES.index(score)
        i, j = names.index(first), names.index(second)

        def estimate(sums: dict[str, np.ndarray]) -> np.ndarray:
            scores = self._scores(sums)[:, :, column]
            return scores[:, i] - scores[:, j]

        statistics = self._statistics()
        point = estimate({name: values.sum(0, keepdims=True) for name, values in statistics.items()})[0]
        low, high = document_bootstrap(statistics, estimate, n_boot, seed)
        limits = [None if limit is None else number_or_none(float(limit)) for limit in (low, high)]
        return number_or_none(point), limits[0], limits[1]

    def _statistics(self) -> dict[str, np.ndarray]:
        """Sums per document that add up: squares about the means over all documents, NaN for what does not vary.

        The means are not resampled: their error is of second order in every score, while means of resamples would
        shift the scores of all dimensions together.
        """
        sums = self._sums.arrays()
        n, y_mean = sums["n"], sums["y"].sum(0) / sums["n"].sum()
        rounding = n.sum() * (RESOLUTION * np.abs(self._constants["y_mean"])) ** 2
        center = y_mean @ self._whitening.matrix
        white = sums["white"] - 2 * sums["y"] @ (self._whitening.matrix @ center) + n * (center @ center)
        statistics = {name: values for name, values in sums.items() if "/" in name} | {
            "n": n,
            "sst": _about_mean(n, sums["y"], sums["yy"], rounding),
            "white": white * _one_or_nan(self._whitened and white.sum() > 1e-6 * sums["white"].sum()),
        }
        if self._d_in == self._d_out:
            statistics["sst_update"] = _about_mean(n, sums["u"], sums["uu"], rounding)
            statistics["identity"] = sums["identity"]
        else:
            statistics |= {"sst_update": np.full((len(n), 1), np.nan), "identity": np.full(len(n), np.nan)}
        return statistics

    def _scores(self, sums: dict[str, np.ndarray]) -> np.ndarray:
        """The five scores of every operator from sums of ``_statistics`` [b, ...]: [b, operators, 5]."""
        squares = [varying(sums[name], 0) for name in ("sst", "white", "sst_update", "identity")]
        scores = [five_scores(sums[f"sse/{name}"], sums[f"rows/{name}"][:, 0], *squares) for name in self.operators]
        return np.stack(scores, axis=1)


def _about_mean(n: np.ndarray, sums: np.ndarray, squares: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Squares about the mean of all documents [D, d], from n [D], sums and squares; NaN where only rounding is left."""
    mean = sums.sum(0) / n.sum()
    about = squares - 2 * sums * mean + n[:, None] * mean**2
    return about * _one_or_nan(about.sum(0) > np.maximum(1e-6 * squares.sum(0), rounding))


def _one_or_nan(known: np.ndarray | bool) -> np.ndarray:
    return np.where(known, 1.0, np.nan)


def residual_scores_from_moments(
    operator: AffineMap,
    moments: "Moments",
    source: int,
    target: int,
    group: str | Sequence[str] = "test",
) -> ResidualScore:
    """Scores of an operator as quadratic forms of moments: no token is touched, no interval and no cosine is known.

    With error scatter E = S_yy - T S_xy - (T S_xy)' + T S_xx T' and mean error m = mean_y - T mean_x - b,
    SSE_d = E_dd + n m_d^2; the other scores follow as for tokens.

    Args:
        operator: the map scored.
        moments: of a collection that holds the pair; the whitening is that of their train groups.
        source, target: layers.
        group: ``"train"`` (all folds), the name of one group, or several names.

    Raises:
        LayerError: no such pair.
        DataError: the group is empty.
    """
    names, white = groups_of(moments, group), Whitening.of_layer(moments, target).matrix

    def make() -> tuple[PairMoments, float]:
        pair = moments.summary(source, target, names)
        return pair, float(np.sum((pair.syy @ white) * white))

    pair, white_squares = moments.derived.get(("scored", source, target, *names), make)  # shared by all operators
    matrix, n = operator.matrix, pair.n
    cross = matrix @ pair.sxy
    scatter = pair.syy - cross - cross.T + matrix @ pair.sxx @ matrix.T
    mean_error = pair.mean_y - matrix @ pair.mean_x - operator.bias
    sse = np.maximum(np.diagonal(scatter) + n * mean_error**2, 0)
    sse_white = np.sum((scatter @ white) * white) + n * np.sum((mean_error @ white) ** 2)
    y_squares, rounding = np.diagonal(pair.syy), n * (RESOLUTION * np.abs(pair.mean_y)) ** 2
    sst = varying(y_squares, rounding)
    sst_white = varying(np.array(white_squares), 0)
    sst_update, identity = np.full_like(sst, np.nan), np.array(np.nan)
    if matrix.shape[0] == matrix.shape[1]:
        both = y_squares + np.diagonal(pair.sxx)
        squares = both - 2 * np.diagonal(pair.sxy)
        sst_update = varying(squares, np.maximum(1e-6 * both, rounding))
        identity = varying(squares.sum() + n * np.sum((pair.mean_y - pair.mean_x) ** 2), 1e-6 * both.sum())
    scores = five_scores(*(np.asarray(a)[None] for a in (sse, sse_white, sst, sst_white, sst_update, identity)))[0]
    unknown = np.full_like(scores, np.nan)
    return ResidualScore(
        n=n, n_documents=None, **named_scores(scores, unknown, unknown), mse=float(sse.mean() / n), cosine=None
    )
