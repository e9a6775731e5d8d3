"""What interventions cost on average: means over sequences, paired with the unedited model, with intervals by document."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ato.causal.interventions import NO_EDIT, Edit
from ato.causal.losses import EditLosses
from ato.numerics.bootstrap import document_bootstrap

MEASURES = ("log_ppl", "delta_log_ppl", "delta_edited_onwards", "kl")


@dataclass(frozen=True)
class Effect:
    """Means over the sequences in which an edit changed something; NaN where there is nothing to say.

    Intervals (95 %) come from resampling documents, and are NaN with fewer than two.
    """

    n_sequences: int
    n_documents: int
    log_ppl: float
    """Mean next-token loss, in nats."""
    log_ppl_low: float
    log_ppl_high: float
    delta_log_ppl: float
    """log_ppl minus that of the unedited model on the same sequences."""
    delta_log_ppl_low: float
    delta_log_ppl_high: float
    delta_edited_onwards: float
    """The same over the predictions made at the first edited position and after it."""
    delta_edited_onwards_low: float
    delta_edited_onwards_high: float
    kl: float
    """Mean KL(unedited || edited), in nats."""
    kl_low: float
    kl_high: float


def causal_effects(
    losses: Mapping[Edit, EditLosses], clean: np.ndarray, document: np.ndarray, n_boot: int = 1000, seed: int = 0
) -> dict[Edit, Effect]:
    """The effect of every edit, all from the same resamples of documents.

    Args:
        losses: of n sequences, see ``ato.causal.losses.causal_losses``.
        clean: [n] mean next-token loss of the unedited model.
        document: [n] document of each sequence.
        n_boot: resamples.
        seed: of the resamples.
    """
    values = np.stack([_values(edit, of, clean) for edit, of in losses.items()], axis=1)  # [n, edits, measures]
    known = np.isfinite(values)
    numbers, row = np.unique(document, return_inverse=True)
    sums, counts = (np.zeros((len(numbers), *values.shape[1:])) for _ in range(2))
    np.add.at(sums, row, np.where(known, values, 0))
    np.add.at(counts, row, known)
    means = _means({"sum": sums.sum(0)[None], "n": counts.sum(0)[None]})[0]
    low, high = document_bootstrap({"sum": sums, "n": counts}, _means, n_boot, seed)
    n_documents = (counts > 0).sum(0)
    missing = np.full(means.shape, np.nan)
    low, high = (missing if end is None else np.where(n_documents > 1, end, np.nan) for end in (low, high))
    effects = {}
    for i, edit in enumerate(losses):
        ends = {"": means[i], "_low": low[i], "_high": high[i]}
        scores = {f"{name}{end}": float(of[m]) for m, name in enumerate(MEASURES) for end, of in ends.items()}
        effects[edit] = Effect(int(counts[:, i, 0].sum()), int(n_documents[i, 0]), **scores)
    return effects


def _values(edit: Edit, losses: EditLosses, clean: np.ndarray) -> np.ndarray:
    """[n, measures] of one edit: NaN in sequences where it changed nothing, and differences of no edit are none."""
    onwards = losses.log_ppl_edited_onwards - losses.clean_edited_onwards
    delta = losses.log_ppl - clean
    if edit == NO_EDIT:
        delta = np.full(len(clean), np.nan)
        return np.stack([losses.log_ppl, delta, onwards, losses.kl], axis=1)
    changed = np.isfinite(losses.log_ppl_edited_onwards)[:, None]
    return np.where(changed, np.stack([losses.log_ppl, delta, onwards, losses.kl], axis=1), np.nan)


def _means(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums["sum"] / sums["n"]
