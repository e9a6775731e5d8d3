"""Trials of one feature, drawn by a seed from windows of documents that its description never saw.

Detection: does the feature fire in this text? Active windows against silent ones of several tiers. Fuzzing: are the
marked tokens those it fires on? Active windows, half of them with silent tokens marked. Intruder: which of these texts
does not belong? Several active windows and a silent one; no description is needed. Embedding: the questions of
detection, ranked by the probability of the answer.

What is drawn depends on the seed, the feature and where a window lies, and not on the order of windows.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.marking import whole_characters
from ato.autointerp.questions import (
    DETECTION,
    EMBEDDING,
    FUZZING,
    INTRUDER,
    SCORERS,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
)
from ato.errors import InputError, QualityError
from ato.features.excerpts import Excerpt
from ato.numerics.counter_rng import uniforms

_POSITIVE, _NEGATIVE, _TOKEN, _MEMBER, _STRANGER, _PLACE = range(6)


@dataclass(frozen=True)
class TrialPlan:
    """How many trials a feature gets, and how they are drawn."""

    n: int = 20
    """Trials of each class, and of each tier of negatives."""
    n_groups: int = 20
    """Groups of the intruder test."""
    group_size: int = 4
    """Active windows in a group, beside the intruder: 4 or 5."""
    max_uses: int = 5
    """Groups that a window may stand in, at most."""
    intruder_tier: str = "random"
    """Tier that intruders are drawn from."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n, self.n_groups, self.max_uses) < 1 or self.group_size < 2:
            raise InputError("a plan of trials without trials", cure="ask for at least one, in groups of at least two")


@dataclass(frozen=True)
class Trial:
    """One question about a feature whose right answer is known: a row, once it is answered."""

    feature_id: int
    scorer: str
    """One of ``SCORERS``."""
    number: int
    """Within the feature and scorer, from 0."""
    tier: str | None
    """Of the silent window; None for active ones, which are compared with every tier."""
    split: str
    expected: bool | int
    """Yes or no, or the index of the intruder."""
    excerpts: tuple[Excerpt, ...]
    """One, or a group of the intruder test."""
    marked: frozenset[int] = frozenset()
    """Indices of the tokens that fuzzing marks."""

    @property
    def needs_description(self) -> bool:
        """Whether the question is about a description."""
        return self.scorer != INTRUDER

    def question(self, description: str | None) -> DetectionQuestion | FuzzingQuestion | IntruderQuestion:
        """The trial as a judge is asked.

        Raises:
            InputError: a description is needed and not given.
        """
        if self.scorer == INTRUDER:
            return IntruderQuestion(self.excerpts)
        if description is None or not description.strip():
            raise InputError(f"{self.scorer} without a description of feature {self.feature_id}", cure="give its text")
        if self.scorer == FUZZING:
            return FuzzingQuestion(description, self.excerpts[0], self.marked)
        return DetectionQuestion(description, self.excerpts[0])


@dataclass(frozen=True)
class FeatureTrials:
    """The trials of a feature, and why a scorer (or a tier of it) has none."""

    trials: tuple[Trial, ...]
    reasons: Mapping[tuple[str, str | None], str]
    """(scorer, tier) -> reason; the tier is None where the scorer has no trials at all."""

    def of(self, scorer: str) -> tuple[Trial, ...]:
        """Those of one scorer."""
        return tuple(trial for trial in self.trials if trial.scorer == scorer)


def draw_trials(
    evidence: FeatureEvidence, split: str, plan: TrialPlan = TrialPlan(), scorers: Sequence[str] = SCORERS
) -> FeatureTrials:
    """Trials of a feature from its windows of one split.

    Args:
        evidence: of the feature. Windows without visible text, of the documents of its examples, or given twice, are
            left out.
        split: ``validation`` to choose among descriptions, ``test`` to judge the chosen one.
        plan: numbers and seed.
        scorers: which tests.

    Raises:
        InputError: an unknown scorer.
        QualityError: a positive window is silent, or a negative one active.
    """
    if unknown := set(scorers) - set(SCORERS):
        raise InputError(f"unknown scorers {sorted(unknown)}", cure=f"choose from {', '.join(SCORERS)}")
    pool = _Pool.of(evidence, split, plan.seed)
    draw = {DETECTION: _detection, FUZZING: _fuzzing, INTRUDER: _intruder, EMBEDDING: _detection}
    trials: list[Trial] = []
    reasons: dict[tuple[str, str | None], str] = {}
    for scorer in scorers:
        drawn, missing = draw[scorer](pool, plan)
        reasons |= {(scorer, tier): reason for tier, reason in missing.items()}
        trials += [
            Trial(evidence.feature_id, scorer, number, tier, split, expected, excerpts, marked)
            for number, (tier, expected, excerpts, marked) in enumerate(drawn)
        ]
    return FeatureTrials(tuple(trials), reasons)


_Drawn = tuple[str | None, bool | int, tuple[Excerpt, ...], frozenset[int]]
_Missing = dict[str | None, str]
_NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Pool:
    """The windows of one split that trials may use, in an order drawn by the seed."""

    feature: int
    seed: int
    positives: list[Excerpt]
    negatives: dict[str, list[Excerpt]]

    @classmethod
    def of(cls, evidence: FeatureEvidence, split: str, seed: int) -> "_Pool":
        feature, shown = evidence.feature_id, {_document(example) for example in evidence.examples}

        def usable(windows: Sequence[Excerpt], active: bool) -> list[Excerpt]:
            found: dict[tuple[int, ...], Excerpt] = {}
            for window in windows:
                if window.active != active:
                    what = "silent, but a positive" if active else "active, but a negative"
                    raise QualityError(f"a window of feature {feature} is {what}", where=window.origin)
                if window.origin.split == split and window.text.strip() and _document(window) not in shown:
                    found.setdefault(_key(window), window)
            return list(found.values())

        positives = _shuffled(usable(evidence.positives, True), seed, feature, _POSITIVE)
        negatives = {
            tier: _shuffled(usable(windows, False), seed, feature, _NEGATIVE)
            for tier, windows in sorted(evidence.negatives.items())
        }
        return cls(feature, seed, positives, negatives)


def _detection(pool: _Pool, plan: TrialPlan) -> tuple[list[_Drawn], _Missing]:
    if len(pool.positives) < plan.n:
        return [], {None: f"{len(pool.positives)} active windows of {plan.n}"}
    drawn: list[_Drawn] = [(None, True, (window,), _NOTHING) for window in pool.positives[: plan.n]]
    missing: _Missing = {}
    taken: set[tuple[int, ...]] = set()
    # A window of several tiers is asked about for one of them where there are others: the scarcest tier chooses first.
    for tier, windows in sorted(pool.negatives.items(), key=lambda item: (len(item[1]), item[0])):
        if len(windows) < plan.n:
            missing[tier] = f"{len(windows)} silent windows of {plan.n}"
            continue
        chosen = sorted(windows, key=lambda window: _key(window) in taken)[: plan.n]
        taken.update(map(_key, chosen))
        drawn += [(tier, False, (window,), _NOTHING) for window in chosen]
    return (drawn, missing) if taken else ([], missing | {None: f"no tier has {plan.n} silent windows"})


def _fuzzing(pool: _Pool, plan: TrialPlan) -> tuple[list[_Drawn], _Missing]:
    """Both classes come from windows that could stand in either; with fewer than 2 n some stand in both."""
    marked = [(window, silent) for window in pool.positives if (silent := _silent_tokens(window, pool))]
    if len(pool.positives) < plan.n:
        return [], {None: f"{len(pool.positives)} active windows of {plan.n}"}
    if len(marked) < plan.n:
        return [], {None: f"{len(marked)} active windows of {plan.n} have as many silent tokens as active ones"}
    drawn: list[_Drawn] = [(None, True, (window,), active_tokens(window)) for window, _ in marked[: plan.n]]
    return drawn + [(None, False, (window,), silent) for window, silent in marked[-plan.n :]], {}


def active_tokens(excerpt: Excerpt) -> frozenset[int]:
    """Indices of the tokens that the feature fires on; of a character that is split over several, the first."""
    return whole_characters(excerpt.tokens, [i for i, value in enumerate(excerpt.activations) if value > 0])


def _silent_tokens(window: Excerpt, pool: _Pool) -> frozenset[int]:
    """As many silent tokens with visible text as there are active ones, drawn by the seed; none if there are too few."""
    active = active_tokens(window)
    silent = [i for i, token in enumerate(window.tokens) if token.strip() and i not in active]
    if not active or len(silent) < len(active):
        return _NOTHING
    drawn = uniforms(pool.seed, pool.feature, _TOKEN, *_key(window), np.array(silent))
    return frozenset(silent[i] for i in np.argsort(drawn, kind="stable")[: len(active)])


def _intruder(pool: _Pool, plan: TrialPlan) -> tuple[list[_Drawn], _Missing]:
    """Groups are cut from up to ``max_uses`` orders of all active windows, so that none stands in a group twice."""
    silent = pool.negatives.get(plan.intruder_tier, [])
    per_round = len(pool.positives) // plan.group_size
    possible = min(per_round * plan.max_uses, len(silent) * plan.max_uses)
    if possible < plan.n_groups:
        what = f"{len(pool.positives)} active and {len(silent)} silent windows ({plan.intruder_tier})"
        return [], {None: f"{what} make {possible} groups of {plan.n_groups}"}
    members: list[list[Excerpt]] = []
    strangers: list[Excerpt] = []
    for use in range(plan.max_uses):
        order = _shuffled(pool.positives, pool.seed, pool.feature, _MEMBER, use)
        members += [order[i * plan.group_size : (i + 1) * plan.group_size] for i in range(per_round)]
        strangers += _shuffled(silent, pool.seed, pool.feature, _STRANGER, use)
    places = uniforms(pool.seed, pool.feature, _PLACE, np.arange(plan.n_groups)) * (plan.group_size + 1)
    drawn: list[_Drawn] = []
    for group, stranger, place in zip(members[: plan.n_groups], strangers, places.astype(int)):
        excerpts = (*group[:place], stranger, *group[place:])
        drawn.append((plan.intruder_tier, int(place), excerpts, _NOTHING))
    return drawn, {}


def _shuffled(windows: Sequence[Excerpt], *keys: int) -> list[Excerpt]:
    """In an order of the seed, whatever order they come in."""
    ordered = sorted(windows, key=_key)
    if not ordered:
        return []
    drawn = uniforms(*keys, *np.array([_key(window) for window in ordered]).T)
    return [ordered[i] for i in np.argsort(drawn, kind="stable")]


def _key(window: Excerpt) -> tuple[int, int, int, int]:
    origin = window.origin
    return zlib.crc32(origin.corpus.encode()), origin.document, origin.sequence, origin.start


def _document(window: Excerpt) -> tuple[str, int]:
    return window.origin.corpus, window.origin.document
