"""Snapshots of one SAE in training: how far its directions are from the final ones, and what each is like as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ato.errors import InputError, MismatchError, SettingsError
from ato.sae_studies.densities import DENSITY_EDGES, HIGH_FREQUENCY
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.quality import Reconstruction

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of log10 activation rates, as a snapshot's summary gives them."""


@dataclass(frozen=True)
class Snapshot:
    """An SAE at one step of its training."""

    sae: SparseAutoencoder
    step: int
    """Optimiser steps done."""
    n_trained: int
    """Tokens it was trained on until then."""


@dataclass(frozen=True)
class SnapshotSummary:
    """One snapshot on held-out tokens; NaN where no feature or token is behind a number."""

    step: int
    n_trained: int
    """Tokens it was trained on until then."""
    quality: Reconstruction
    """FVU with its interval, L0, share of dead features, and the held-out tokens and documents behind them."""
    n_features: int
    n_active: int
    """Features active on a held-out token."""
    high_frequency_share: float
    """Share of all features that are active on more than ``HIGH_FREQUENCY`` of the tokens."""
    log10_rate_quantiles: np.ndarray
    """[quantiles] ``QUANTILES`` of log10 activation rate over the features that are active."""
    log10_rate_counts: np.ndarray
    """[bins] int64, features that are active by log10 rate between ``DENSITY_EDGES``; the dead are in no bin."""
    n_compared: int
    """Features behind the numbers below: those active in the final snapshot."""
    mean_cosine: float
    """Mean cosine of decoder rows to those of the final snapshot."""
    mean_cosine_shuffled: float
    """The same to the final row of another feature, over all pairs: what unrelated rows have."""
    share_emerged: float
    """Share of the features that have emerged by this snapshot."""
    mean_agreement: float
    """Mean Jaccard index of the tokens that a feature is active on here and in the final snapshot."""
    mean_agreement_by_chance: float
    """The same if each fired at its rate on tokens of its own."""


def check_snapshots(snapshots: Sequence[Snapshot]) -> None:
    """Raise unless there are snapshots, of one shape, in the order of their steps.

    Raises:
        InputError: no snapshot, or steps that do not rise.
        MismatchError: SAEs of different widths.
    """
    if not snapshots:
        raise InputError("no snapshot was given", cure="give those of a training, the final SAE last")
    shapes = [(snapshot.sae.d_in, snapshot.sae.d_sae) for snapshot in snapshots]
    if len(set(shapes)) > 1:
        raise MismatchError(
            "snapshots of different shapes",
            where=", ".join(f"[{d_in}, {d_sae}]" for d_in, d_sae in dict.fromkeys(shapes)),
            cure="give the snapshots of one training",
        )
    steps = [snapshot.step for snapshot in snapshots]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError("steps of snapshots must rise", where=str(steps), cure="order them by step, each once")


def cosines_to_final(snapshots: Sequence[Snapshot]) -> np.ndarray:
    """[snapshots, d_sae] float64 cosine of each decoder row to that of the last snapshot; NaN where either is zero."""
    final = snapshots[-1].sae.W_dec.detach().double().cpu().numpy()
    length = np.linalg.norm(final, axis=1)
    cosine = np.empty((len(snapshots), len(final)))
    for row, snapshot in enumerate(snapshots):
        own = snapshot.sae.W_dec.detach().double().cpu().numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine[row] = np.einsum("fd,fd->f", own, final) / (np.linalg.norm(own, axis=1) * length)
    cosine = np.clip(cosine, -1.0, 1.0)
    cosine[-1] = np.where(length > 0, 1.0, np.nan)
    return cosine


def first_staying(cosine: np.ndarray, threshold: float) -> np.ndarray:
    """[d_sae] int64, the first snapshot from which ``cosine`` [snapshots, d_sae] stays at the threshold or above.

    -1 where it is below in the last one too.

    Raises:
        SettingsError: a threshold beyond 0 to 1.
    """
    if not 0 < threshold <= 1:
        raise SettingsError(f"a cosine of {threshold:g} is no threshold", cure="choose one above 0, up to 1")
    stays = np.logical_and.accumulate((cosine >= threshold)[::-1])[::-1]
    return np.where(stays.any(0), stays.argmax(0), -1)


def mean_cosine_of_others(snapshot: Snapshot, final: Snapshot, chosen: np.ndarray) -> float:
    """Mean cosine of the chosen rows of a snapshot to final rows of *other* chosen features, over all pairs.

    (sum u . sum v - sum u.v) / (m (m - 1)) with unit rows u and v; NaN of fewer than two features.
    """
    both = chosen & _has_direction(snapshot) & _has_direction(final)
    if both.sum() < 2:
        return float("nan")
    u, v = (one.sae.decoder_directions.detach().double().cpu().numpy()[both] for one in (snapshot, final))
    n = len(u)
    return float((u.sum(0) @ v.sum(0) - np.einsum("fd,fd->", u, v)) / (n * (n - 1)))


def _has_direction(snapshot: Snapshot) -> np.ndarray:
    found: np.ndarray = (snapshot.sae.decoder_norms > 0).cpu().numpy()
    return found


@dataclass(frozen=True)
class Comparison:
    """What the features of one snapshot have in common with the final ones, each [d_sae]."""

    cosine: np.ndarray
    emerged: np.ndarray
    """Bool: has emerged by this snapshot."""
    agreement: np.ndarray
    agreement_by_chance: np.ndarray


def summarise(
    snapshots: Sequence[Snapshot],
    index: int,
    quality: Reconstruction,
    counts: np.ndarray,
    comparison: Comparison,
) -> SnapshotSummary:
    """The summary of one snapshot.

    Args:
        snapshots: all of them, the final one last.
        index: which one.
        quality: its reconstruction of the held-out tokens.
        counts: [snapshots, d_sae] tokens on which each feature is active.
        comparison: its features beside the final ones.
    """
    n = quality.n_tokens
    rate = counts[index] / max(n, 1)
    log_rate = np.log10(rate[rate > 0])
    lasting = counts[-1] > 0
    return SnapshotSummary(
        step=snapshots[index].step,
        n_trained=snapshots[index].n_trained,
        quality=quality,
        n_features=len(rate),
        n_active=len(log_rate),
        high_frequency_share=float((rate > HIGH_FREQUENCY).mean()) if n else float("nan"),
        log10_rate_quantiles=np.quantile(log_rate, QUANTILES) if len(log_rate) else np.full(len(QUANTILES), np.nan),
        log10_rate_counts=np.histogram(np.maximum(log_rate, DENSITY_EDGES[0]), DENSITY_EDGES)[0],
        n_compared=int(lasting.sum()),
        mean_cosine=_mean(comparison.cosine[lasting]),
        mean_cosine_shuffled=mean_cosine_of_others(snapshots[index], snapshots[-1], lasting),
        share_emerged=_mean(comparison.emerged[lasting].astype(np.float64)),
        mean_agreement=_mean(comparison.agreement[lasting]),
        mean_agreement_by_chance=_mean(comparison.agreement_by_chance[lasting]),
    )


def _mean(values: np.ndarray) -> float:
    """Mean of the known values; NaN of none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
