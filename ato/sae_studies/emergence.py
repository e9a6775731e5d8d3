"""When each feature of an SAE appears in training: its direction, its life, its drift, its splits, what it fires on."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.features.document_sets import DocumentsOfFeatures
from ato.numerics.intervals import EstimateArray, document_interval
from ato.numerics.scales import SHARE
from ato.residuals.blocks import ResidualBlock
from ato.sae_studies.snapshots import (
    Comparison,
    Snapshot,
    SnapshotSummary,
    check_snapshots,
    cosines_to_final,
    first_staying,
    summarise,
)
from ato.sae_studies.specialisation import KindCounts, Specialisation, chance_entropies
from ato.sae_studies.splitting import Parents, find_parents
from ato.saes.quality import DOCUMENT_GROUPS, SAEQuality

_CHUNK_FEATURES = 256
_ROUNDING = 1e-9
"""Width of an interval that is rounding: no document makes a difference."""


@dataclass(frozen=True)
class FeatureEmergence:
    """The features of one SAE over its training; snapshots are numbered from 0, and -1 stands for none (NULL)."""

    feature_id: np.ndarray
    """[d_sae] int32."""
    n_tokens: int
    """Held-out tokens that all snapshots encoded."""
    n_documents: int
    emerged: np.ndarray
    """[d_sae] int64, first snapshot from which the cosine to the final row stays at the threshold or above."""
    born: np.ndarray
    """[d_sae] int64, first snapshot at which the feature is active on some token."""
    died: np.ndarray
    """[d_sae] int64, first snapshot from which it is never active again; -1 if it is active in the final one, or never."""
    state: np.ndarray
    """[d_sae] ``alive`` (active in the final snapshot), ``dead`` (was active before) or ``never active``."""
    cosine: np.ndarray
    """[snapshots, d_sae] cosine of the decoder row to the final one; NaN where either is zero."""
    n_active: np.ndarray
    """[snapshots, d_sae] int64, tokens on which it is active."""
    agreement: np.ndarray
    """[snapshots, d_sae] Jaccard index of the tokens it is active on there and in the final one; NaN if on none."""
    agreement_by_chance: np.ndarray
    """[snapshots, d_sae] the Jaccard index of independent firing at the same two rates: pq / (p + q - pq)."""
    drift: EstimateArray
    """[d_sae] 1 - Jaccard index of the tokens it is active on when it emerges and in the final snapshot, by document.

    0 without limits where it emerges in the final snapshot; limits are NaN too where no document makes a difference.
    """
    n_documents_active: np.ndarray
    """[d_sae] int64, documents behind the drift."""
    parents: Parents
    first: Specialisation
    """At its birth."""
    final: Specialisation
    """In the final snapshot."""
    summaries: tuple[SnapshotSummary, ...]
    reason: np.ndarray
    """[d_sae] why numbers of a feature are missing, one clause; None where none is."""

    @property
    def steps(self) -> np.ndarray:
        """[snapshots] int64: ``steps[emerged]`` is the step at which a feature emerges."""
        return np.array([summary.step for summary in self.summaries], dtype=np.int64)


@dataclass(frozen=True)
class _DriftSums:
    """Tokens by group of documents and feature, [groups, d_sae]."""

    then: np.ndarray
    """Active in the snapshot in which the feature emerged."""
    now: np.ndarray
    """Active in the final one."""
    both: np.ndarray


class Emergence:
    """Follows the features of one SAE through snapshots of its training, in one pass over held-out tokens.

    Feature i of every snapshot is taken for the same feature. Each block is encoded by every snapshot once. Memory is a
    few numbers per feature and snapshot, 3 x 256 int32 a feature (drift by groups of documents with equal numbers modulo
    256), the sums of ``SAEQuality`` a snapshot, and sparse counts of the token ids that features are active on at their
    births and in the end; none of it grows with tokens x features.

    Args:
        snapshots: of one training, in the order of their steps; the last is the final SAE.
        layer: whose residuals the SAE reads.
        cosine: from which a decoder row counts as the final one.
        parent_cosine: see ``Parents``.
        strata: document -> label, such as its topic; documents without one do not count in entropies over strata.

    Raises:
        InputError: no snapshot, or steps that do not rise.
        MismatchError: snapshots of different widths.
        SettingsError: a cosine beyond 0 to 1.
    """

    def __init__(
        self,
        snapshots: Sequence[Snapshot],
        layer: int,
        *,
        cosine: float = 0.9,
        parent_cosine: float = 0.5,
        strata: Mapping[int, str] | None = None,
    ):
        check_snapshots(snapshots)
        self._snapshots, self._layer, self._parent_cosine = tuple(snapshots), layer, parent_cosine
        self._cosine = cosines_to_final(self._snapshots)
        self._emerged = first_staying(self._cosine, cosine)
        self._settings = (layer, cosine, parent_cosine)
        labels = {label: code for code, label in enumerate(sorted(set((strata or {}).values())))}
        self._stratum = {document: labels[label] for document, label in (strata or {}).items()}
        self._clear()

    def _clear(self) -> None:
        n_snapshots, d_sae = self._cosine.shape
        self._quality = [SAEQuality(snapshot.sae, self._layer) for snapshot in self._snapshots]
        self._count = np.zeros((n_snapshots, d_sae), dtype=np.int64)
        self._both = np.zeros((n_snapshots, d_sae), dtype=np.int64)
        self._drift = _DriftSums(*(np.zeros((DOCUMENT_GROUPS, d_sae), dtype=np.int32) for _ in range(3)))
        self._documents = DocumentsOfFeatures(d_sae)
        self._born = np.full(d_sae, n_snapshots)
        # Rows (feature, snapshot of its birth) and (feature, n_snapshots) for the final one; 0 for all tokens.
        self._ids, self._all_ids, self._strata, self._all_strata = (KindCounts() for _ in range(4))

    def update(self, block: ResidualBlock) -> "Emergence":
        """Encode a block with every snapshot."""
        x, d_sae = block.residuals[self._layer], self._cosine.shape[1]
        stratum = self._strata_of(block.document)
        self._all_ids.add(np.zeros(block.n, dtype=np.int64), block.token_id)
        self._all_strata.add(np.zeros((stratum >= 0).sum(), dtype=np.int64), stratum[stratum >= 0])
        final = self._snapshots[-1].sae.active(x)
        final_pairs = np.sort((final.token * d_sae + final.feature).cpu().numpy())
        for s, snapshot in enumerate(self._snapshots):
            last = s == len(self._snapshots) - 1
            active = final if last else snapshot.sae.active(x)
            self._quality[s].update(block, active)
            token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
            shared = _among(token * d_sae + feature, final_pairs)
            self._count[s] += np.bincount(feature, minlength=d_sae)
            self._both[s] += np.bincount(feature[shared], minlength=d_sae)
            self._note_drift(s, block.document[token], feature, shared)
            # No token before was active at a snapshot earlier than the births so far: counts from here on are complete.
            at_birth = s <= self._born[feature]
            self._born[feature[at_birth]] = s
            self._count_kinds(s, feature[at_birth], block.token_id[token[at_birth]], stratum[token[at_birth]])
            if last:
                self._count_kinds(s + 1, feature, block.token_id[token], stratum[token])
        return self

    def _strata_of(self, document: np.ndarray) -> np.ndarray:
        """[n] number of each token's stratum, -1 without one."""
        numbers, place = np.unique(document, return_inverse=True)
        return np.array([self._stratum.get(number, -1) for number in numbers.tolist()], dtype=np.int64)[place]

    def _note_drift(self, s: int, document: np.ndarray, feature: np.ndarray, shared: np.ndarray) -> None:
        group, then = document % DOCUMENT_GROUPS, self._emerged[feature] == s
        np.add.at(self._drift.then, (group[then], feature[then]), 1)
        np.add.at(self._drift.both, (group[then & shared], feature[then & shared]), 1)
        if s == len(self._snapshots) - 1:
            np.add.at(self._drift.now, (group, feature), 1)
            then = np.ones_like(then)
        self._documents.update(document[then], feature[then])

    def _count_kinds(self, slot: int, feature: np.ndarray, token_id: np.ndarray, stratum: np.ndarray) -> None:
        row = feature * (len(self._snapshots) + 1) + slot
        self._ids.add(row, token_id)
        self._strata.add(row[stratum >= 0], stratum[stratum >= 0])

    def __add__(self, other: "Emergence") -> "Emergence":
        """The same over both streams.

        Raises:
            MismatchError: other snapshots, settings or strata.
        """
        ours, theirs = ([one.sae.weights_hash for one in part._snapshots] for part in (self, other))
        if (ours, self._settings, self._stratum) != (theirs, other._settings, other._stratum):
            raise MismatchError("emergence of other snapshots or settings", cure="add those of one training")
        total = copy(self)
        total._clear()
        total._quality = [a + b for a, b in zip(self._quality, other._quality, strict=True)]
        total._born = np.minimum(self._born, other._born)
        for part in (self, other):
            total._count += part._count
            total._both += part._both
            for name in ("then", "now", "both"):
                getattr(total._drift, name).__iadd__(getattr(part._drift, name))
            total._documents.merge(part._documents)
            for name in ("_ids", "_all_ids", "_strata", "_all_strata"):
                getattr(total, name).merge(getattr(part, name))
        return total

    def result(self) -> FeatureEmergence:
        """The features over all tokens seen."""
        n_snapshots, d_sae = self._cosine.shape
        qualities = [quality.result() for quality in self._quality]
        n = qualities[-1].n_tokens
        fires = self._count > 0
        born = np.where(fires.any(0), fires.argmax(0), -1)
        after_last = n_snapshots - fires[::-1].argmax(0)
        died = np.where((born >= 0) & ~fires[-1], after_last, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            agreement = self._both / (self._count + self._count[-1] - self._both)
            p, q = self._count / max(n, 1), self._count[-1] / max(n, 1)
            by_chance = p * q / (p + q - p * q)
        comparisons = [
            Comparison(self._cosine[s], (self._emerged >= 0) & (self._emerged <= s), agreement[s], by_chance[s])
            for s in range(n_snapshots)
        ]
        return FeatureEmergence(
            feature_id=np.arange(d_sae, dtype=np.int32),
            n_tokens=n,
            n_documents=qualities[-1].n_documents,
            emerged=self._emerged,
            born=born,
            died=died,
            state=np.where(fires[-1], "alive", np.where(born >= 0, "dead", "never active")),
            cosine=self._cosine,
            n_active=self._count.copy(),
            agreement=agreement,
            agreement_by_chance=by_chance,
            drift=self._drifts(),
            n_documents_active=self._documents.counts(),
            parents=find_parents(self._snapshots, born, self._count, self._parent_cosine),
            first=self._specialisation(np.where(born >= 0, born, 0)),
            final=self._specialisation(np.full(d_sae, n_snapshots)),
            summaries=tuple(
                summarise(self._snapshots, s, quality, self._count, comparisons[s])
                for s, quality in enumerate(qualities)
            ),
            reason=self._reasons(fires),
        )

    def _drifts(self) -> EstimateArray:
        """1 - both / (then + now - both) by feature."""
        parts = []
        for start in range(0, self._cosine.shape[1], _CHUNK_FEATURES):
            then, now, both = (
                getattr(self._drift, name)[:, start : start + _CHUNK_FEATURES] for name in ("then", "now", "both")
            )
            parts.append(document_interval(_DriftSums(then, now, both), _drift, then + now - both, SHARE))
        value, low, high = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "low", "high")
        )
        sure = ~(high - low > _ROUNDING)
        return EstimateArray(value, np.where(sure, np.nan, low), np.where(sure, np.nan, high))

    def _specialisation(self, slot: np.ndarray) -> Specialisation:
        """In the snapshots [d_sae] given for each feature."""
        d_sae, n_slots = self._cosine.shape[1], len(self._snapshots) + 1
        row = np.arange(d_sae) * n_slots + slot
        columns: list[np.ndarray] = []
        for counts, everything in ((self._ids, self._all_ids), (self._strata, self._all_strata)):
            n, entropy = (values[row] for values in counts.entropies(d_sae * n_slots))
            columns += [n, entropy, chance_entropies(everything.totals(0), n)]
        return Specialisation(*columns)

    def _reasons(self, fires: np.ndarray) -> np.ndarray:
        reason = np.full(fires.shape[1], None, dtype=object)
        reason[~fires[-1]] = "active on no held-out token in the final snapshot"
        reason[~fires.any(0)] = "active on no held-out token in any snapshot"
        reason[np.isnan(self._cosine[-1])] = "its final decoder row is zero"
        return reason


def _drift(sums: _DriftSums) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        drift: np.ndarray = 1 - sums.both / (sums.then + sums.now - sums.both)
    return drift


def _among(pairs: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """[m] bool: which pairs are among others that are sorted."""
    if not len(ascending):
        return np.zeros(len(pairs), dtype=bool)
    place = np.searchsorted(ascending, pairs).clip(max=len(ascending) - 1)
    found: np.ndarray = ascending[place] == pairs
    return found
