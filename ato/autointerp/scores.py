"""What a description is worth: scores of answered trials, each with its interval (95 %).

Every value is arithmetic over rows (counts, squares, roots, ranks), so that SQL finds the same from the trials. A trial
without an answer is neither right nor wrong: it is counted as unanswered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ato.autointerp.trial_results import TrialResult
from ato.autointerp.trials import EMBEDDING, INTRUDER, SCORERS
from ato.errors import InputError
from ato.numerics.auroc import auroc_interval
from ato.numerics.intervals import Estimate

Z = 1.959963984540054
"""Of a normal distribution, 97.5 % lie below it."""


@dataclass(frozen=True)
class BalancedAccuracy:
    """Mean of sensitivity and specificity, from yes-or-no trials."""

    value: Estimate
    sensitivity: Estimate
    """Share of yes among the answers where the feature fires."""
    specificity: Estimate
    """Share of no where it does not."""
    n_positive: int
    """Answered trials where the right answer is yes."""
    n_negative: int
    n_unanswered: int


@dataclass(frozen=True)
class Score:
    """One number about a description (or, for intruder, about a feature) by one judge."""

    scorer: str
    tier: str | None
    """Of the negatives; None for all tiers together."""
    control: bool
    """Whether the descriptions were those of other features."""
    value: Estimate
    """Balanced accuracy; accuracy for intruder; AUROC for embedding."""
    sensitivity: float | None
    specificity: float | None
    n_positive: int
    """Answered trials of the class yes; for intruder all that were answered."""
    n_negative: int
    n_unanswered: int
    chance: float
    """The value of a judge that knows nothing."""
    reason: str | None = None
    """Why there is no value."""


def wilson(successes: int, n: int) -> Estimate:
    """A share with its score interval (Wilson, 1927); nothing of no trials.

    Raises:
        InputError: more successes than trials.
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} successes in {n} trials", cure="count successes among the trials")
    if not n:
        return Estimate(None)
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return Estimate(share, low, high)


def mean_of_shares(first: Estimate, second: Estimate) -> Estimate:
    """Mean of two independent shares, with limits from theirs.

    (p + q) / 2 is half of one plus the difference of p and 1 - q, whose limits are those of Newcombe (1998, method 10):
    each end lies as far from the value as the root of the squares of the shares' own reaches to that side.
    """
    parts = (first.value, first.low, first.high, second.value, second.low, second.high)
    if any(part is None for part in parts):
        return Estimate(None)
    p, p_low, p_high, q, q_low, q_high = (float(part) for part in parts if part is not None)
    value = (p + q) / 2
    low = value - sqrt((p - p_low) ** 2 + (q - q_low) ** 2) / 2
    high = value + sqrt((p_high - p) ** 2 + (q_high - q) ** 2) / 2
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def balanced_accuracy(expected: Sequence[bool], answered: Sequence[bool | None]) -> BalancedAccuracy:
    """Mean of sensitivity and specificity; no value where a class has no answer.

    Args:
        expected: [n] right answers.
        answered: [n] answers, None where there is none.

    Raises:
        InputError: there are not as many of both.
    """
    if len(expected) != len(answered):
        raise InputError(f"{len(expected)} right answers to {len(answered)}", cure="pass one for each")
    pairs = [(bool(right), bool(answer)) for right, answer in zip(expected, answered) if answer is not None]
    yes, no = ([answer == right for right, answer in pairs if right == of] for of in (True, False))
    sensitivity, specificity = (wilson(sum(correct), len(correct)) for correct in (yes, no))
    value = mean_of_shares(sensitivity, specificity)
    return BalancedAccuracy(value, sensitivity, specificity, len(yes), len(no), len(expected) - len(pairs))


def intruder_accuracy(expected: Sequence[int], answered: Sequence[int | None]) -> Estimate:
    """Share of groups whose intruder was found among the answered ones, with Wilson's interval.

    Raises:
        InputError: there are not as many right answers as answers.
    """
    if len(expected) != len(answered):
        raise InputError(f"{len(expected)} right answers to {len(answered)}", cure="pass one for each")
    correct = [answer == right for right, answer in zip(expected, answered) if answer is not None]
    return wilson(sum(correct), len(correct))


def scores(results: Iterable[TrialResult]) -> list[Score]:
    """Scores of one feature's answered trials by one judge.

    Args:
        results: of one feature and one judge, its controls beside the others.

    Returns:
        For detection and embedding all tiers together and each tier, against the same active windows; one score of
        fuzzing and one of intruder. A scorer without trials has none. Limits of an AUROC are those of
        ``ato.numerics.auroc.auroc_interval``, by window.

    Raises:
        InputError: results of several features.
    """
    rows = list(results)
    if len(features := {row.trial.feature_id for row in rows}) > 1:
        raise InputError(f"trials of features {sorted(features)[:5]} together", cure="score each feature by itself")
    found = []
    for control in (False, True):
        for scorer in SCORERS:
            of_scorer = [row for row in rows if row.control == control and row.trial.scorer == scorer]
            tiers = sorted({row.trial.tier for row in of_scorer if row.trial.tier is not None})
            # A single tier that is named is a score of its own beside the pooled one, so that tiers compare.
            for tier in [None, *(tiers if scorer != INTRUDER else ())] if of_scorer else []:
                kept = [row for row in of_scorer if tier is None or row.trial.tier in (None, tier)]
                found.append(_score(scorer, tier, control, kept))
    return found


def _score(scorer: str, tier: str | None, control: bool, rows: Sequence[TrialResult]) -> Score:
    expected = [row.trial.expected for row in rows]
    if scorer == INTRUDER:
        answered = [row.answered for row in rows]
        n = sum(answer is not None for answer in answered)
        chance = float(np.mean([1 / len(row.trial.excerpts) for row in rows]))
        value = intruder_accuracy(expected, answered)
        reason = _reason(value, rows)
        return Score(scorer, tier, control, value, None, None, n, 0, len(rows) - n, chance, reason)
    if scorer == EMBEDDING:
        ranks = [np.nan if row.probability is None else row.probability for row in rows]
        known = [bool(right) for right, rank in zip(expected, ranks) if not np.isnan(rank)]
        value = auroc_interval(np.array(ranks), np.array(expected, dtype=np.int64))
        counts = (sum(known), len(known) - sum(known), len(rows) - len(known))
        answered_at_all = any(row.answered is not None for row in rows)
        reason = "the judge gives no probabilities" if answered_at_all and not known else _reason(value, rows)
        return Score(scorer, tier, control, value, None, None, *counts, 0.5, reason)
    found = balanced_accuracy(
        [bool(right) for right in expected], [None if row.answered is None else bool(row.answered) for row in rows]
    )
    return Score(
        scorer,
        tier,
        control,
        found.value,
        found.sensitivity.value,
        found.specificity.value,
        found.n_positive,
        found.n_negative,
        found.n_unanswered,
        0.5,
        _reason(found.value, rows),
    )


def _reason(value: Estimate, rows: Sequence[TrialResult]) -> str | None:
    """The commonest reason that trials have no answer, where there is no value."""
    if value.value is not None:
        return None
    given = sorted(row.reason for row in rows if row.reason)
    return max(given, key=given.count) if given else "a class without an answer"
