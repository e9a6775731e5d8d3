"""Trials put to a judge: what it answered to each, or why it gave no answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from ato.autointerp.questions import Answer, Judge, Question
from ato.autointerp.trials import INTRUDER, Trial
from ato.errors import DataError
from ato.numerics.counter_rng import uniforms


@dataclass(frozen=True)
class TrialResult:
    """A trial with its answer: one row of the trials' table, from which every score is computed."""

    trial: Trial
    answered: bool | int | None
    """Yes or no, or the index of the intruder; None where the judge gave no answer that can be read."""
    probability: float | None = None
    """Of yes (or of the given index); what embedding scoring ranks by."""
    reason: str | None = None
    """Why there is no answer."""
    call: str | None = None
    control: bool = False
    """Whether the description was that of another feature."""


def put_to_judge(
    judge: Judge,
    trials: Sequence[Trial],
    descriptions: Mapping[int, str | None],
    *,
    control: bool = False,
) -> list[TrialResult]:
    """Answers to trials, in their order.

    A trial about a feature without a description, or about a text without visible characters, is not asked: it has no
    answer, with the reason. So has one whose answer is of the wrong kind.

    Args:
        judge: is asked all questions at once.
        trials: of any number of features.
        descriptions: feature -> description.
        control: whether these are descriptions of other features, see ``shuffled_descriptions``.

    Raises:
        DataError: the judge gave another number of answers than it was asked questions.
    """
    asked: list[tuple[int, Question]] = []
    found: list[TrialResult | None] = [None] * len(trials)
    for place, trial in enumerate(trials):
        description = descriptions.get(trial.feature_id)
        if reason := _unasked(trial, description):
            found[place] = TrialResult(trial, None, reason=reason, control=control)
        else:
            asked.append((place, trial.question(description)))
    answers = judge.answer([question for _, question in asked]) if asked else []
    if len(answers) != len(asked):
        raise DataError(f"judge {judge.name} gave {len(answers)} answers to {len(asked)} questions")
    for (place, _), answer in zip(asked, answers):
        found[place] = _result(trials[place], answer, control)
    return [result for result in found if result is not None]


def _unasked(trial: Trial, description: str | None) -> str | None:
    if trial.needs_description and not (description or "").strip():
        return "no description"
    return None if all(excerpt.text.strip() for excerpt in trial.excerpts) else "no visible text"


def _result(trial: Trial, answer: Answer, control: bool) -> TrialResult:
    value, reason = answer.value, answer.reason
    if trial.scorer == INTRUDER:
        readable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(trial.excerpts)
    else:
        readable = isinstance(value, bool)
    if not readable:
        reason = reason or ("no answer" if value is None else f"not an answer: {str(value)[:60]!r}")
        value = None
    assert value is None or isinstance(value, int)
    return TrialResult(trial, value, answer.probability, reason, answer.call, control)


def shuffled_descriptions(descriptions: Mapping[int, str | None], seed: int) -> dict[int, str | None]:
    """Each feature with the description of another one: under it a sound test scores near chance.

    The features stand in a circle in an order of the seed, and each takes the next description that reads differently;
    None where it has none itself, or all read alike.
    """
    known = sorted(feature for feature, text in descriptions.items() if (text or "").strip())
    order = np.argsort(uniforms(seed, np.array(known, dtype=np.int64)), kind="stable")
    circle = [descriptions[known[i]] or "" for i in order]
    found: dict[int, str | None] = dict.fromkeys(descriptions)
    for place, i in enumerate(order):
        others = chain(islice(circle, place + 1, None), islice(circle, place))
        found[known[i]] = next((text for text in others if _plain(text) != _plain(circle[place])), None)
    return found


def best_candidate(scores: Iterable[float | None]) -> int | None:
    """Index of the best of several descriptions by their score on validation trials, the first of equals; None unscored."""
    scored = [(-score, place) for place, score in enumerate(scores) if score is not None and np.isfinite(score)]
    return min(scored)[1] if scored else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
