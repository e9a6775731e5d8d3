"""All that labelling shows of chosen features, from two passes: one over all tokens, one over those of windows.

The first pass chooses tokens and sums counts, and needs one encoding of each block, whatever it is shared with. What is
shown is then known, and the second pass encodes only the tokens of windows::

    first = [EvidenceTokens(sae, layer, features, n_folds=source.n_folds, strata=strata) for sae, layer, features in ...]
    evidence = collect_evidence(first, source, lengths)

Or pass by pass, where each pass shows its progress, or shards are added (``+``)::

    run_pass(source, [SharedEncoding(e.sae, e.layer, [e, others]) for e in first])
    second = [e.windows(lengths) for e in first]
    run_pass(source, second)
    evidence = [w.result() for w in second]
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import numpy as np
import torch

from ato.errors import InputError, MismatchError
from ato.features.activation_histograms import ActivationHistograms, HistogramCounts
from ato.features.coactivation import CoFiringCounts, Neighbours, coactivation_neighbours, cosine_neighbours
from ato.features.examples import Examples, ExampleTokens, ExampleWindows
from ato.features.silent_windows import SilentExamples, SilentWindows, TextPool
from ato.features.strata import Stratum
from ato.features.strata_rates import RatesOfStratum, StrataRates
from ato.features.token_samples import FeatureTokens
from ato.features.window_index import KnownTokens
from ato.residuals.blocks import ResidualBlock, ResidualSource, run_pass
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.chosen_features import ChosenFeatures
from ato.saes.feature_source import FeatureSource
from ato.saes.shared_encoding import SharedEncoding
from ato.text.splits import in_splits

HELD_OUT = ("val", "test")
SILENT = "silent"
_NEAR_CANDIDATES = 6
"""Candidates for near misses, for each that is wanted."""


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


class EvidenceTokens:
    """Accumulates, in the first pass, what windows are chosen from, and all counts.

    Memory is d_sae x (tokens of the plan + bins + parts) and chosen x d_sae, whatever the number of tokens. The order and
    the size of blocks change nothing but the rounding of sums.

    Args:
        sae: the SAE, or what else has features.
        layer: layer whose residuals it reads.
        features: the chosen.
        n_folds: of the source, whose groups tell train, val and test apart.
        strata: what divides the text.
        match: name of the stratum that silent windows of ``same_stratum`` are drawn by; default the first one.
        plan: how much.

    Raises:
        InputError: a feature beyond the SAE or named twice, or no such stratum.
    """

    def __init__(
        self,
        sae: FeatureSource,
        layer: int,
        features: np.ndarray,
        *,
        n_folds: int,
        strata: Sequence[Stratum] = (),
        match: str | None = None,
        plan: EvidencePlan | None = None,
    ):
        self.sae, self.layer, self.plan = sae, layer, EvidencePlan() if plan is None else plan
        p, self._n_folds = self.plan, n_folds
        names = [stratum.name for stratum in strata]
        if match is not None and match not in names:
            raise InputError(f"there is no stratum {match}", cure=f"use one of {', '.join(names) or 'none'}")
        matched = strata[0 if match is None else names.index(match)] if strata else None
        self._match = None if matched is None else matched.name
        self._cofiring = CoFiringCounts(sae.d_sae, features)
        self.histograms, self.rates = ActivationHistograms(sae.d_sae), StrataRates(sae.d_sae, strata)
        counts = {"train": (p.n_top, p.n_random, p.n_quantiles)}
        counts |= dict.fromkeys(HELD_OUT, (p.n_held_out_top, p.n_held_out_random, 0))
        self._examples = {
            split: ExampleTokens(sae, layer, *own, one_per="document", seed=p.seed) for split, own in counts.items()
        }
        self._pools = {split: TextPool(p.pool, matched, seed=p.seed) for split in HELD_OUT}

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "EvidenceTokens":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        active = self.sae.active(block.residuals[self.layer]) if active is None else active
        self.histograms.update(active)
        self.rates.update(block, active)
        self._cofiring.update(active)
        for split, examples in self._examples.items():
            mask = in_splits(block.group, [split], self._n_folds)
            if mask.any():
                rows, own = (block, active) if mask.all() else _selected(block, active, mask)
                examples.update(rows, own)
                if split in self._pools:
                    self._pools[split].update(rows)
        return self

    def __add__(self, other: "EvidenceTokens") -> "EvidenceTokens":
        """What both streams offer.

        Raises:
            MismatchError: they are of different SAEs, layers, features, strata or plans.
        """
        own, others = ((e.layer, e.plan, e._n_folds, e._match, e.sae.weights_hash) for e in (self, other))
        if own != others:
            raise MismatchError("evidence of different plans cannot be added", cure="collect both alike")
        total = copy(self)
        total._cofiring = self._cofiring + other._cofiring
        total.histograms = self.histograms + other.histograms
        total.rates = self.rates + other.rates
        total._examples = {split: one + other._examples[split] for split, one in self._examples.items()}
        total._pools = {split: pool + other._pools[split] for split, pool in self._pools.items()}
        return total

    def windows(self, lengths: Mapping[int, int]) -> "WindowsPass":
        """The consumer of the second pass.

        Args:
            lengths: sequence id -> tokens in the sequence.
        """
        chosen = {split: tokens.choose(self._cofiring.features) for split, tokens in self._examples.items()}
        coactivation = coactivation_neighbours(self._cofiring.result(), self.plan.n_neighbours)
        cosine = cosine_neighbours(self.sae.decoder_directions, self._cofiring.features, self.plan.n_neighbours)
        both = Neighbours(
            **{f.name: np.append(getattr(coactivation, f.name), getattr(cosine, f.name)) for f in fields(Neighbours)}
        )
        p, rates = self.plan, self.rates.result()
        # Enough candidates for near misses: several times as many as are wanted, of all neighbours together.
        each = -(-_NEAR_CANDIDATES * p.n_silent // max(2 * p.n_neighbours, 1))
        silent = {
            split: SilentWindows(
                self.sae.d_sae,
                self._cofiring.features,
                pool.result(),
                both,
                _first_of_each(self._examples[split].sampled(), each),
                lengths,
                before=p.before,
                after=p.after,
            )
            for split, pool in self._pools.items()
        }
        found = self._cofiring.features, self.histograms.result(), rates, coactivation, cosine
        return WindowsPass(self.sae, self.layer, p, chosen, silent, self._match, found, lengths)


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


def collect_evidence(
    first: Sequence[EvidenceTokens],
    source: ResidualSource,
    lengths: Mapping[int, int],
    on_block: Callable[[ResidualBlock], None] | None = None,
) -> list[LabelEvidence]:
    """Both passes over a source for any number of SAEs.

    Args:
        first: one for each SAE.
        source: of the residuals of their layers, all splits.
        lengths: sequence id -> tokens in the sequence.
        on_block: told each block of both passes.
    """
    layers = sorted({one.layer for one in first})
    run_pass(source, [SharedEncoding(one.sae, one.layer, [one]) for one in first], layers=layers, on_block=on_block)
    second = [one.windows(lengths) for one in first]
    run_pass(source, second, layers=layers, on_block=on_block)
    return [one.result() for one in second]


def _first_of_each(tokens: FeatureTokens, n: int) -> FeatureTokens:
    """The first n tokens of every feature."""
    kept = tokens.rank < n
    return FeatureTokens(**{name: column[kept] for name, column in vars(tokens).items()})


def _selected(block: ResidualBlock, active: ActiveFeatures, mask: np.ndarray) -> tuple[ResidualBlock, ActiveFeatures]:
    """The keys and active features of some tokens."""
    kept = torch.from_numpy(mask).to(active.token.device)
    row = torch.cumsum(kept, 0) - 1
    mine = kept[active.token].nonzero().squeeze(1)
    own = ActiveFeatures(int(mask.sum()), row[active.token[mine]], active.feature[mine], active.value[mine])
    return block.at([]).select(mask), own


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
