"""What interventions cost on average: means over sequences, paired with the unedited model, intervals by document."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ato.causal.interventions import NO_INTERVENTION, Intervention
from ato.causal.losses import EditLosses
from ato.numerics.intervals import Estimate, EstimateArray, document_interval


@dataclass(frozen=True)
class Effect:
    """Means over the sequences in which an intervention changed something; None where there is nothing to say."""

    n_sequences: int
    n_documents: int
    log_ppl: Estimate
    """Mean next-token loss, in nats."""
    delta_log_ppl: Estimate
    """log_ppl minus that of the unedited model on the same sequences."""
    delta_edited_onwards: Estimate
    """The same over the predictions made at the first edited position and after it."""
    kl: Estimate
    """Mean KL(unedited || edited), in nats."""


@dataclass(frozen=True)
class MeasureSums:
    """Sums per document, [documents, rows, measures]: what means over sequences, and their intervals, are made from."""

    values: np.ndarray
    n: np.ndarray
    """Sequences with a value."""

    @classmethod
    def of(cls, values: np.ndarray, document: np.ndarray) -> "MeasureSums":
        """Sums of values [n, rows, measures] of n sequences, NaN where one has none, by document [n]."""
        known = np.isfinite(values)
        numbers, row = np.unique(document, return_inverse=True)
        sums = cls(*(np.zeros((len(numbers), *values.shape[1:])) for _ in range(2)))
        np.add.at(sums.values, row, np.where(known, values, 0))
        np.add.at(sums.n, row, known)
        return sums

    def means(self) -> EstimateArray:
        """Means [rows, measures] over the sequences with a value."""
        return document_interval(self, _means, self.n)


def causal_effects(
    losses: Mapping[Intervention, EditLosses], clean: np.ndarray, document: np.ndarray
) -> dict[Intervention, Effect]:
    """The effect of every intervention.

    Args:
        losses: of n sequences, see ``ato.causal.losses.causal_losses``.
        clean: [n] mean next-token loss of the unedited model.
        document: [n] document of each sequence.
    """
    values = np.stack([_values(intervention, of, clean) for intervention, of in losses.items()], axis=1)
    sums = MeasureSums.of(values, document)
    n_sequences, n_documents, means = sums.n.sum(0), (sums.n > 0).sum(0), sums.means()
    return {
        intervention: Effect(
            int(n_sequences[i, 0]), int(n_documents[i, 0]), *(means[i, m] for m in range(values.shape[2]))
        )
        for i, intervention in enumerate(losses)
    }


def _values(intervention: Intervention, losses: EditLosses, clean: np.ndarray) -> np.ndarray:
    """[n, measures] in the order of ``Effect``: NaN in sequences where nothing was changed."""
    onwards = losses.log_ppl_edited_onwards - losses.clean_edited_onwards
    if intervention == NO_INTERVENTION:  # has no difference to itself
        return np.stack([losses.log_ppl, np.full(len(clean), np.nan), onwards, losses.kl], axis=1)
    changed = np.isfinite(losses.log_ppl_edited_onwards)[:, None]
    return np.where(changed, np.stack([losses.log_ppl, losses.log_ppl - clean, onwards, losses.kl], axis=1), np.nan)


def _means(sums: MeasureSums) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums.values / sums.n
