"""The scaling study: operators fitted on growing shares of the train documents, from moments that are there already.

Every share is nested in the larger ones, and all are judged on the same validation documents, so that the curve shows
what more data bring and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ato.errors import SettingsError
from ato.moments.moments import Moments
from ato.numerics.memo import Memo
from ato.numerics.parallel import run_tasks
from ato.operators.cross_validation import RidgeRows
from ato.operators.methods import METHODS, method_named
from ato.operators.operator import TransportOperator
from ato.operators.solvers import ridge
from ato.operators.strengths import strengths_of
from ato.residuals.position_policies import Layer, layer_number


@dataclass(frozen=True)
class ScalingFit:
    """An operator fitted on a share of the train documents."""

    fraction: float
    """Share of the train documents that was asked for; that of the tokens is ``n_train`` over all train tokens."""
    operator: TransportOperator
    n_train: int
    """Train tokens."""
    alpha: float
    """Strength with the largest R2 on the validation documents; 0 for ``linear``."""
    r2_val: float
    """That R2, uniform average over dimensions; constant dimensions count as in ``cross_validated_r2``."""


_SHARES: Memo[tuple[Layer, tuple[float, ...]], list[RidgeRows]] = Memo(capacity=1)


def scaling_fits(
    moments: Moments,
    source: Layer,
    target: int,
    fractions: Sequence[float],
    method: str = "ridge",
    alphas: Sequence[float] | None = None,
) -> list[ScalingFit]:
    """Fit on each share of the train documents, the regularisation chosen by the exact R2 on ``val``.

    Go through the targets of one source before the next source: its factorisations are kept and shared.

    Args:
        moments: with these fractions among their ``cuts`` (or 1).
        source, target: a pair of the moments.
        fractions: shares of the train documents.
        method: one that ``scales``: ridge in one form or another.
        alphas: strengths on the sum of squares; default: the method's.

    Returns:
        One fit for each fraction, in their order.

    Raises:
        LayerError: the moments lack the pair.
        SettingsError: another method, impossible strengths, or a fraction that the moments do not hold apart.
        DataError: a share, or the validation split, has no rows.
    """
    kind = method_named(method)
    if not kind.scales:
        cure = f"choose from {[name for name, other in METHODS.items() if other.scales]}"
        raise SettingsError(f"no scaling study for {method!r}", cure=cure)
    moments.check_pair(source, target)
    of_update = kind.scorer == "update_r2"
    if of_update and moments.d and moments.d[source] != moments.d[target]:
        raise SettingsError(f"{method} needs layers of equal width", where=f"{source} -> {target}", cure="choose ridge")
    strengths = strengths_of(method, alphas).alphas
    shares = [moments.train_share(fraction) for fraction in fractions]
    prepared = _SHARES.get(
        moments,
        (source, tuple(fractions)),
        lambda: run_tasks([partial(RidgeRows.of, moments, source, share, ("val",)) for share in shares]),
    )

    def fit(fraction: float, share: RidgeRows) -> ScalingFit:
        groups = share.rows.train
        scores = share.r2(moments, source, target, strengths, of_update=of_update)
        best = int(np.argmax(scores))
        n, x_mean, _ = moments.variation(source, groups)
        _, y_mean, _ = moments.variation(target, groups)
        sxy = moments.cross(source, target, groups)
        if of_update:
            sxy -= moments.scatter(source, groups)[2]
        weights = ridge(share.eigen, sxy, strengths[best])
        matrix = weights.T + np.eye(len(x_mean)) if of_update else weights.T
        operator = TransportOperator(
            matrix,
            y_mean - matrix @ x_mean,
            method,
            source_layer=layer_number(source),
            target_layer=target,
            alpha=float(strengths[best]),
            rank=min(matrix.shape) if of_update else min(share.eigen.kept_rank, len(y_mean)),
            x_mean=x_mean,
            y_mean=y_mean,
        )
        return ScalingFit(float(fraction), operator, n, float(strengths[best]), float(scores[best]))

    return run_tasks([partial(fit, fraction, share) for fraction, share in zip(fractions, prepared, strict=True)])
