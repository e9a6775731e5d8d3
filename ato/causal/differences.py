"""Transport against its rivals: differences of their losses, paired on the same sequences, with intervals by document."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ato.causal.effects import MeasureSums
from ato.causal.intervention_names import COMPARED, STUDY, STUDY_SETS
from ato.causal.interventions import Intervention
from ato.causal.losses import EditLosses
from ato.numerics.intervals import Estimate

MAX_FLIPPED_EXACTLY = 12
"""Documents up to which all sign patterns are tried; 4,096 of them."""
N_FLIPS = 9_999
"""Random sign patterns beyond that."""


@dataclass(frozen=True)
class Comparison:
    """What is compared: transport from one layer with one rival, both at the same positions."""

    rival: str
    """One of ``RIVALS``, or ``feature_zero`` for a single feature."""
    position_set: str
    """Name of a position set, or ``study`` for the average over the study's three."""
    feature_id: int | None = None


@dataclass(frozen=True)
class Difference:
    """Means of transport minus rival, in nats; below 0: transport costs less. None where there is nothing to say."""

    n_sequences: int
    """Sequences that both interventions changed."""
    n_documents: int
    log_ppl: Estimate
    """Of the mean next-token loss over the whole sequence."""
    edited_onwards: Estimate
    """Of that from the first edited position on."""
    kl: Estimate
    """Of the mean KL divergence from the unedited model."""
    p: float | None
    """Of the difference of log_ppl, two-sided, by flipping the signs of whole documents; None with a single one."""


def paired_differences(
    edits: Mapping[Intervention, EditLosses],
    source_layer: int,
    document: np.ndarray,
) -> dict[Comparison, Difference]:
    """Transport from one layer against each rival, without the same documents.

    Args:
        edits: losses of n sequences under the edits of one target layer.
        source_layer: of the operator.
        document: [n] document of each sequence.

    Returns:
        By position set and feature, rivals in the order of ``RIVALS``; what was not run is left out. Where all three
        of the study's position sets were run there is their average too: its interval is that of the average.
    """
    own = {
        (edit.name, edit.positions, edit.feature_id): _values(losses)
        for edit, losses in edits.items()
        if edit.source_layer in (None, source_layer)
    }
    found: dict[Comparison, np.ndarray] = {}
    for (name, positions, feature_id), values in own.items():
        for rival in COMPARED.get(name, ()):
            if (other := own.get((rival, positions, feature_id))) is not None:
                found[Comparison(rival, positions, feature_id)] = values - other
    for rival in COMPARED["transport"]:
        sets = [found.get(Comparison(rival, positions)) for positions in STUDY_SETS]
        known = [values for values in sets if values is not None]
        if len(known) == len(STUDY_SETS):
            found[Comparison(rival, STUDY)] = np.mean(known, axis=0)
    return _summarised(found, document) if found else {}


def _values(losses: EditLosses) -> np.ndarray:
    """[n, measures] in the order of ``Difference``: NaN in sequences where nothing was changed."""
    changed = np.isfinite(losses.log_ppl_edited_onwards)[:, None]
    return np.where(changed, np.stack([losses.log_ppl, losses.log_ppl_edited_onwards, losses.kl], axis=1), np.nan)


def _summarised(found: Mapping[Comparison, np.ndarray], document: np.ndarray) -> dict[Comparison, Difference]:
    values = np.stack(list(found.values()), axis=1)  # [n, comparisons, measures]
    sums = MeasureSums.of(values, document)
    n_documents, means = (sums.n > 0).sum(0), sums.means()
    p = [sign_flip_p(sums.values[sums.n[:, i, 0] > 0, i, 0]) for i in range(len(found))]
    return {
        comparison: Difference(
            int(sums.n[:, i, 0].sum()), int(n_documents[i, 0]), means[i, 0], means[i, 1], means[i, 2], p[i]
        )
        for i, comparison in enumerate(found)
    }


def sign_flip_p(sums: np.ndarray, seed: int = 0) -> float | None:
    """Two-sided p of paired differences, from sums per document [documents]; None with fewer than two documents.

    Under the null hypothesis a document's sum is as likely to have the other sign: p is the share of sign patterns whose
    total is at least as far from 0 (Fisher, 1935). All patterns are tried with few documents, so that p is exact and
    never below 2 / 2^documents; else the patterns are drawn, and that of the data is one of them.
    """
    if len(sums) < 2:
        return None
    signs = _sign_patterns(len(sums), seed)
    total = np.abs(signs @ sums)
    return float(np.mean(total >= np.abs(sums.sum()) * (1 - 1e-12)))


@lru_cache(maxsize=4)
def _sign_patterns(n: int, seed: int) -> np.ndarray:
    """[patterns, n] of 1 and -1, the first of which changes nothing."""
    if n <= MAX_FLIPPED_EXACTLY:
        return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    drawn = np.random.default_rng(seed).integers(2, size=(N_FLIPS, n)) * 2.0 - 1.0
    return np.concatenate([np.ones((1, n)), drawn])
