"""How far predicted and measured changes of features agree, from sums by document."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.intervals import EstimateArray, document_interval
from ato.numerics.ratios import ratio
from ato.numerics.scales import PLAIN, UNEXPLAINED


@dataclass(frozen=True)
class AblationAgreement:
    """Predicted and measured changes of c features after one direction was ablated; NaN where nothing was measured."""

    n_tokens: np.ndarray
    """[c] int64, tokens at which something was taken out."""
    n_documents: np.ndarray
    """[c] int64."""
    predicted: np.ndarray
    """[c] root mean square of the operator's prediction."""
    measured: np.ndarray
    """[c] the same of the change in the model."""
    agreement: EstimateArray
    """[c] 1 - sum (measured - predicted)^2 / sum measured^2: 1 where the model does what the operator says, 0 where "no
    change" is as good a prediction."""
    agreement_identity: EstimateArray
    """[c] the same of the identity as the operator: the baseline."""
    slope: EstimateArray
    """[c] sum predicted measured / sum predicted^2: the share of the predicted change that happens."""


@dataclass(frozen=True)
class ChangeSums:
    """Sums by document, [documents, directions, c]; p is predicted, q what the identity predicts, m measured."""

    n: np.ndarray
    pp: np.ndarray
    mm: np.ndarray
    pm: np.ndarray
    qq: np.ndarray
    qm: np.ndarray


def agreements(sums: ChangeSums) -> list[AblationAgreement]:
    """The agreement of each direction, with intervals by document."""
    found = (
        document_interval(sums, _agreement, sums.n, UNEXPLAINED),
        document_interval(sums, _agreement_identity, sums.n, UNEXPLAINED),
        document_interval(sums, _slope, sums.n, PLAIN),
    )
    n, n_documents = sums.n.sum(0), (sums.n > 0).sum(0)
    predicted, measured = (np.sqrt(ratio(squares.sum(0), n)) for squares in (sums.pp, sums.mm))
    return [
        AblationAgreement(
            n[d].astype(np.int64),
            n_documents[d],
            predicted[d],
            measured[d],
            *(EstimateArray(of.value[d], of.low[d], of.high[d]) for of in found),
        )
        for d in range(len(n))
    ]


def _agreement(s: ChangeSums) -> np.ndarray:
    return 1 - ratio(s.mm - 2 * s.pm + s.pp, s.mm)


def _agreement_identity(s: ChangeSums) -> np.ndarray:
    return 1 - ratio(s.mm - 2 * s.qm + s.qq, s.mm)


def _slope(s: ChangeSums) -> np.ndarray:
    return ratio(s.pm, s.pp)
