"""Fitting transport operators, from rows or from moments, with the regularisation chosen by cross-validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from ato.errors import DataError, InputError, SettingsError
from ato.moments.moments import Moments
from ato.numerics.parallel import run_task
from ato.numerics.validation import as_float_tensor
from ato.operators import method_solvers
from ato.operators.cross_validation import contiguous_folds, document_folds
from ato.operators.method_solvers import FitProblem, Solution
from ato.operators.methods import METHODS, OperatorMethod, method_named, takers_of
from ato.operators.operator import TransportOperator
from ato.operators.strengths import Strength, strengths_of
from ato.residuals.position_policies import Layer, layer_number

DOUBLE_WORK = 4e9
"""Up to this many multiplications, rows given as float32 are multiplied in float64: it takes no time that matters."""
FEW_ROWS = 10
"""So are fewer rows a dimension than this: small strengths then magnify the rounding of the products."""
SLICE_ROWS = 65536
"""Rows handed to the moments at a time."""

Rows = np.ndarray | torch.Tensor


class _Identity(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def weights_hash(self) -> str: ...


@dataclass(frozen=True)
class OperatorFit:
    """A fitted operator and how its strength was chosen."""

    operator: TransportOperator
    alpha: float | None
    """Chosen strength; None for the baselines."""
    alphas: np.ndarray
    """[g] strengths tried; with ``l1_ratios`` the flattened grid, the ratio changing fastest."""
    cv_scores: np.ndarray | None
    """[g, folds] held-out R2, uniform average over dimensions; None where there was nothing to cross-validate."""
    alpha_at_edge: bool
    """The chosen alpha is the smallest or largest of several: extend the grid."""
    n_train: int
    kept_rank: int | None
    """Source directions above rounding; None for baselines, lasso and elastic net, which cut none."""
    r2_cv: float | None
    """Mean over folds of the held-out R2 at the chosen strength."""
    l1_ratio: float | None = None
    """Chosen share of the L1 penalty; 1 for lasso, None for other methods."""
    l1_ratios: np.ndarray | None = None
    """[g] shares tried, for lasso and elastic net."""
    duality_gap: float | None = None
    """Of lasso and elastic net, the largest over outputs, relative to their mean squares; above
    ``ato.operators.elastic_net.TOLERANCE`` the solver stopped at its last iteration."""


def fit_operator(
    X: Rows,
    Y: Rows,
    method: str = "ridge",
    alphas: Sequence[float] | None = None,
    cv_folds: int = 5,
    folds: np.ndarray | None = None,
    documents: np.ndarray | None = None,
    rank: int | None = None,
    output_weight: str = "whitened",
    decoder: Rows | None = None,
    l1_ratios: Sequence[float] | None = None,
) -> OperatorFit:
    """Fit y_hat = T x + b on rows, the regularisation chosen by exact cross-validation.

    Args:
        X: source rows [n, d_in], NumPy or torch.
        Y: target rows [n, d_out].
        method: one of ``ato.operators.methods.METHODS`` that needs rows alone; docs/methods.md lists them.
        alphas: strengths on scikit-learn's scale: on the mean of squares for lasso and elastic net, on the sum of
            squares for all others; default: the method's.
        cv_folds: number of folds: consecutive as scikit-learn's ``KFold``, or of whole documents.
        folds: [n] fold numbers instead.
        documents: [n] document of each row: no document is split between folds.
        rank: of methods that have one; default full.
        output_weight: metric of ``rrr``: ``whitened``, ``raw`` or ``features``.
        decoder: SAE decoder rows [features, d_out] for ``features``.
        l1_ratios: shares of the L1 penalty for ``elasticnet``; default: the method's.

    Returns:
        The fit; ``cv_scores`` equal those of ``GridSearchCV(Ridge())`` or ``ElasticNet()`` on the same folds.

    Raises:
        SettingsError: unknown method or weight, impossible rank, folds or strengths.
        InputError: shapes do not fit.
        DataError: no rows; NonFiniteError (one of them) for NaN or infinity.
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        shapes = f"{tuple(X.shape)} and {tuple(Y.shape)}"
        raise InputError("X and Y must be [n, d_in] and [n, d_out]", where=shapes)
    if not len(X) or not X.shape[1] or not Y.shape[1]:
        raise DataError("no rows to fit on", where=f"X {tuple(X.shape)}, Y {tuple(Y.shape)}")
    kind = METHODS.get(method)
    if kind is None or not kind.fits_rows:
        wrong = f"unknown method {method!r}" if kind is None else f"{method} cannot be fitted on rows alone"
        cure = f"choose from {[name for name, other in METHODS.items() if other.fits_rows]}"
        raise SettingsError(wrong, where=None if kind is None else kind.summary, cure=cure)
    strengths = strengths_of(method, alphas, l1_ratios)
    _check_shapes(kind, rank, X.shape[1], Y.shape[1])
    codes = _fold_codes(len(X), cv_folds, folds, documents, needed=len(strengths) > 1)
    double = len(X) * (X.shape[1] + Y.shape[1]) ** 2 <= DOUBLE_WORK or len(X) < FEW_ROWS * X.shape[1]
    moments = Moments(
        [(0, 1)],
        n_folds=int(codes.max()) + 1,
        precision="float64" if double else "auto",
        squares_only=[] if kind.output_weight else [1],
    )
    for start in range(0, len(X), SLICE_ROWS):
        rows = slice(start, start + SLICE_ROWS)
        moments.update({0: X[rows], 1: Y[rows]}, fold=codes[rows])
    fit = fit_operator_from_moments(moments, 0, 1, method, alphas, rank, output_weight, decoder, l1_ratios=l1_ratios)
    return replace(fit, operator=replace(fit.operator, source_layer=None, target_layer=None))


def fit_operator_from_moments(
    moments: Moments,
    source: Layer,
    target: int,
    method: str = "ridge",
    alphas: Sequence[float] | None = None,
    rank: int | None = None,
    output_weight: str = "whitened",
    decoder: Rows | None = None,
    identity: _Identity | None = None,
    collection: str | None = None,
    l1_ratios: Sequence[float] | None = None,
    matrix: np.ndarray | None = None,
) -> OperatorFit:
    """Fit an operator on all train folds of the moments, cross-validated over them.

    Go through the targets of one source before the next source: its factorisations are kept and shared.

    Args:
        moments: of residual rows; groups ``val`` and ``test`` are not looked at.
        source, target: layers, a pair of the moments.
        method: one of ``ato.operators.methods.METHODS``; for ``permuted``, give the moments of permuted rows.
        alphas, rank, output_weight, decoder, l1_ratios: as in ``fit_operator``.
        identity: model the residuals come from (its ``model``, ``revision`` and ``weights_hash`` are kept with the
            operator).
        collection: key of the collection the residuals come from.
        matrix: T [d_out, d_in] of a method that is measured; what is fitted is its bias.

    Raises:
        LayerError: the moments lack the pair.
        DataError: no train rows, or several strengths and rows in one fold only.
        SettingsError, InputError: as ``fit_operator``.
    """
    moments.check_pair(source, target)
    n, mean_x, _ = moments.variation(source, moments.train_folds)
    _, mean_y, _ = moments.variation(target, moments.train_folds)
    kind, strengths = method_named(method), strengths_of(method, alphas, l1_ratios)
    _check_shapes(kind, rank, len(mean_x), len(mean_y))
    _check_matrix(kind, matrix, len(mean_x), len(mean_y))
    problem = FitProblem(
        moments,
        source,
        target,
        moments.train_folds,
        strengths,
        rank=rank,
        output_weight=output_weight if "output_weight" in kind.parameters else kind.output_weight,
        decoder=None if decoder is None else as_float_tensor(decoder).cpu().numpy().astype(np.float64),
        matrix=matrix,
    )
    scores = None
    if len(strengths) > 1 or (len(strengths) and len(moments.train_folds) > 1):
        scores = _held_out_r2(kind, problem)
    best = 0 if scores is None else int(np.argmax(scores.mean(axis=1)))
    strength = strengths[best] if len(strengths) else Strength()
    solution = run_task(partial(_solver(kind), problem, strength))
    operator = TransportOperator(
        solution.matrix,
        mean_y - solution.matrix @ mean_x if solution.bias is None else solution.bias,
        kind.stored_as or kind.name,
        source_layer=layer_number(source),
        target_layer=target,
        alpha=strength.alpha,
        l1_ratio=strength.l1_ratio,
        rank=solution.rank,
        output_weight=problem.output_weight,
        x_mean=mean_x,
        y_mean=mean_y,
        model=getattr(identity, "model", None),
        revision=getattr(identity, "revision", None),
        weights_hash=getattr(identity, "weights_hash", None),
        collection=collection,
    )
    return OperatorFit(
        operator if solution.truncate_to is None else operator.truncated(solution.truncate_to),
        strength.alpha,
        strengths.alphas,
        scores,
        len(strengths) > 0 and strengths.at_edge(best),
        n,
        solution.kept_rank,
        None if scores is None else float(scores[best].mean()),
        strength.l1_ratio,
        strengths.l1_ratios,
        solution.duality_gap,
    )


def _solver(kind: OperatorMethod) -> Callable[[FitProblem, Strength], Solution]:
    solver: Callable[[FitProblem, Strength], Solution] = getattr(method_solvers, kind.solver)
    return solver


def _held_out_r2(kind: OperatorMethod, problem: FitProblem) -> np.ndarray:
    """R2 [grid, folds with rows], by the method's scorer or by its solver."""
    if kind.scorer is None:
        return method_solvers.refitted_r2(problem, _solver(kind))
    scores: np.ndarray = getattr(method_solvers, kind.scorer)(problem)
    return scores


def _check_shapes(kind: OperatorMethod, rank: int | None, d_in: int, d_out: int) -> None:
    if kind.one_width and d_in != d_out:
        raise SettingsError(
            f"{kind.name} needs layers of equal width", where=f"{d_in} and {d_out}", cure="choose ridge"
        )
    if rank is not None and "rank" not in kind.parameters:
        raise SettingsError(f"rank has no effect on {kind.name}", cure=f"choose {takers_of('rank')}")
    if rank is not None and not 1 <= rank <= min(d_in, d_out):
        raise SettingsError(f"invalid rank {rank}", cure=f"choose 1 to {min(d_in, d_out)}")


def _check_matrix(kind: OperatorMethod, matrix: np.ndarray | None, d_in: int, d_out: int) -> None:
    if kind.measured != (matrix is not None):
        what = "is measured, and needs a matrix" if kind.measured else "is fitted, and takes no matrix"
        raise SettingsError(f"{kind.name} {what}", cure="give one to methods that are measured, and to no others")
    if matrix is not None and matrix.shape != (d_out, d_in):
        raise InputError(f"the matrix must be [{d_out}, {d_in}]", where=f"shape {matrix.shape}")


def _fold_codes(
    n: int, cv_folds: int, folds: np.ndarray | None, documents: np.ndarray | None, *, needed: bool
) -> np.ndarray:
    """Fold numbers [n] from 0."""
    if folds is not None and documents is not None:
        raise SettingsError("both folds and documents given", cure="pass one of them")
    given = folds if folds is not None else documents
    if given is not None and np.shape(given) != (n,):
        raise InputError(f"folds and documents must be [{n}]", where=f"shape {np.shape(given)}")
    if folds is not None:
        return np.unique(np.asarray(folds), return_inverse=True)[1]
    if documents is not None:
        return document_folds(np.asarray(documents), cv_folds)
    if n < cv_folds and not needed:
        return np.zeros(n, dtype=np.int64)
    return contiguous_folds(n, cv_folds)
