"""The windows of text that labelling shows, filled in a second pass over the tokens that lie in one."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import numpy as np

from ato.errors import InputError
from ato.features.activation_histograms import HistogramCounts
from ato.features.coactivation import Neighbours
from ato.features.examples import Examples, ExampleWindows
from ato.features.silent_windows import SilentExamples, SilentWindows
from ato.features.strata_rates import RatesOfStratum
from ato.features.window_index import KnownTokens
from ato.residuals.blocks import ResidualBlock
from ato.saes.chosen_features import ChosenFeatures
from ato.saes.feature_source import FeatureSource

SILENT = "silent"
"""Kind of the windows in which a feature provably does not fire."""


@dataclass(frozen=True)
class EvidencePlan:
    """How much is collected of each feature; every document gives a feature one example, and a sequence one window."""

    n_top: int = 20
    """Strongest examples of train documents."""
    n_random: int = 10
    """Random examples of train documents."""
    n_quantiles: int = 4
    """Activation quantiles of train documents, an example each."""
    n_held_out_top: int = 10
    """Strongest examples of val documents, and as many of test documents."""
    n_held_out_random: int = 20
    """Random examples of val documents, and as many of test documents."""
    n_silent: int = 20
    """Silent windows of a tier of val documents, and as many of test documents."""
    n_neighbours: int = 10
    """Neighbours by co-activation, and as many by the cosine of decoder rows."""
    pool: int = 512
    """Candidates for silent windows of all val text and of each of its parts, and as many of test text."""
    before: int = 20
    """Tokens of a window before the one that it is for."""
    after: int = 10
    """Tokens of a window behind it."""
    seed: int = 0
    """Of all that is drawn."""


@dataclass(frozen=True)
class EvidenceWindows:
    """Windows, ordered by feature, kind, tier, split and rank; every array is [w]."""

    feature_id: np.ndarray
    """int64."""
    kind: np.ndarray
    """top, random, quantile or silent."""
    tier: np.ndarray
    """Of silent windows: random, same_stratum or near_miss; else empty."""
    split: np.ndarray
    """train, val or test."""
    rank: np.ndarray
    """int64, from 1 within feature, kind, tier and split."""
    quantile: np.ndarray
    """float64, upper end of the activation quantile; NaN for other kinds."""
    neighbour: np.ndarray
    """int64, the feature that fires at the position of a near miss; else -1."""
    document: np.ndarray
    """int64."""
    sequence_id: np.ndarray
    """int64."""
    position: np.ndarray
    """int64, of the token that the window was chosen for, in its sequence."""
    start: np.ndarray
    """int64, position of the window's first token."""
    end: np.ndarray
    """int64, position behind its last."""
    activation: np.ndarray
    """float64, at the position; 0 of silent windows."""
    activations: list[np.ndarray]
    """[end - start] float32 of each window; zeros of silent ones, which were read and not assumed."""

    def __len__(self) -> int:
        return len(self.feature_id)


@dataclass(frozen=True)
class LabelEvidence:
    """What was collected of the chosen features of one SAE."""

    features: np.ndarray
    """[c] int64, ascending."""
    windows: EvidenceWindows
    histograms: HistogramCounts
    """Of all features."""
    strata: dict[str, RatesOfStratum]
    """By name; of all features."""
    coactivation: Neighbours
    """Of the chosen features, by phi."""
    cosine: Neighbours
    """Of the chosen features, by the cosine of decoder rows."""


_Part = ExampleWindows | SilentWindows


class WindowsPass:
    """Accumulates, in the second pass, activations in the windows that the first has chosen; see ``EvidenceTokens.windows``.

    Only tokens of windows are encoded, each once, and only for the chosen features where the SAE's gate allows it.
    """

    def __init__(
        self,
        sae: FeatureSource,
        layer: int,
        plan: EvidencePlan,
        chosen: dict[str, Examples],
        silent: dict[str, SilentWindows],
        match: str | None,
        found: tuple,
        lengths: Mapping[int, int],
    ):
        self.layer, self._plan, self._match, self._found = layer, plan, match, found
        self._encoder = ChosenFeatures(sae, found[0])
        self._chosen, self._silent = chosen, silent
        self._active = {
            split: ExampleWindows(sae, layer, examples, lengths, before=plan.before, after=plan.after)
            for split, examples in chosen.items()
        }
        self._known = {split: KnownTokens(windows.index) for split, windows in self._active.items()}

    @property
    def sequences(self) -> np.ndarray:
        """Ids of the sequences that have a window, ascending: a second pass over these is enough."""
        parts: list[_Part] = [*self._active.values(), *self._silent.values()]
        return np.unique(np.concatenate([part.index.sequences for part in parts]))

    def update(self, block: ResidualBlock) -> "WindowsPass":
        """Take a block into account."""
        parts: list[_Part] = [*self._active.values(), *self._silent.values()]
        mask = reduce(np.logical_or, [part.index.wanted(block) for part in parts])
        if not mask.any():
            return self
        rows = block.at([self.layer]).select(mask)
        active = self._encoder.active(rows.residuals[self.layer])
        for part in parts:
            part.take(rows, active)
        for known in self._known.values():
            known.update(rows)
        return self

    def __add__(self, other: "WindowsPass") -> "WindowsPass":
        """What either has seen of the same windows.

        Raises:
            MismatchError: they have other windows.
        """
        total = copy(self)
        for name in ("_active", "_silent", "_known"):
            own, others = getattr(self, name), getattr(other, name)
            setattr(total, name, {split: add(part, others[split]) for split, part in own.items()})
        return total

    def result(self) -> LabelEvidence:
        """All that was collected.

        Raises:
            InputError: the token of an example was not seen in this pass.
        """
        features, histograms, strata, coactivation, cosine = self._found
        shares = None if self._match is None else strata[self._match].share
        parts = [_active_windows(split, self._active[split], self._known[split]) for split in self._active]
        for split, windows in self._silent.items():
            examples = self._chosen[split]
            assert examples.document is not None
            avoid = {int(f): examples.document[examples.feature_id == f] for f in features}
            found = windows.choose(self._plan.n_silent, shares=shares, avoid=avoid, seed=self._plan.seed)
            parts.append(_silent_windows(split, found))
        return LabelEvidence(features, _joined(parts), histograms, strata, coactivation, cosine)


def _active_windows(split: str, windows: ExampleWindows, known: KnownTokens) -> EvidenceWindows:
    examples = windows.examples
    start, end = known.runs()
    if unseen := int((end <= start).sum()):
        raise InputError(
            f"{unseen} of {len(start)} examples of {split} were not seen in the second pass",
            cure="pass over the blocks of the first",
        )
    assert examples.document is not None
    n = len(examples)
    rows = zip(windows.result(), start - windows.start, end - windows.start, strict=True)
    return EvidenceWindows(
        feature_id=examples.feature_id,
        kind=examples.kind,
        tier=np.full(n, ""),
        split=np.full(n, split),
        rank=examples.rank,
        quantile=examples.quantile,
        neighbour=np.full(n, -1),
        document=examples.document,
        sequence_id=examples.sequence_id,
        position=examples.position,
        start=start,
        end=end,
        activation=examples.activation,
        activations=[row[low:high] for row, low, high in rows],
    )


def _silent_windows(split: str, found: SilentExamples) -> EvidenceWindows:
    n = len(found)
    return EvidenceWindows(
        kind=np.full(n, SILENT),
        split=np.full(n, split),
        quantile=np.full(n, np.nan),
        activation=np.zeros(n),
        activations=[np.zeros(length, dtype=np.float32) for length in found.end - found.start],
        **vars(found),
    )


def _joined(parts: list[EvidenceWindows]) -> EvidenceWindows:
    names = [f.name for f in fields(EvidenceWindows) if f.name != "activations"]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort([columns[name] for name in ("rank", "split", "tier", "kind", "feature_id")])
    activations = [row for part in parts for row in part.activations]
    return EvidenceWindows(
        **{name: column[order] for name, column in columns.items()}, activations=[activations[i] for i in order]
    )
