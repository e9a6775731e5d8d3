"""Features classified by a judge: the values of a label space that it gave, checked, and why some are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.questions import ClassificationQuestion, Judge
from ato.errors import DataError, InputError


@dataclass(frozen=True)
class FeatureLabels:
    """The values of one feature by one judge."""

    feature_id: int
    space: str
    values: Mapping[str, str | None]
    """Every property of the space; None where it does not apply or no value of the space was given."""
    reason: str | None
    """Why a property that applies has no value."""
    call: str | None = None


def classify(
    judge: Judge, questions: Sequence[ClassificationQuestion], spaces: Mapping[str, LabelSpace]
) -> list[FeatureLabels]:
    """Values of features, in the order of the questions; what is not of the label space is not taken over.

    Args:
        judge: is asked all questions at once.
        questions: of features with examples; one without is not asked.
        spaces: name -> label space.

    Raises:
        InputError: a question names an unknown label space.
        DataError: the judge gave another number of answers than it was asked questions.
    """
    if unknown := sorted({question.space for question in questions} - set(spaces)):
        raise InputError(f"unknown label space {unknown[0]!r}", cure=f"use {', '.join(sorted(spaces))}")
    asked = [question for question in questions if question.examples]
    answers = judge.answer(asked) if asked else []
    if len(answers) != len(asked):
        raise DataError(f"judge {judge.name} gave {len(answers)} answers to {len(asked)} questions")
    waiting, found = iter(answers), []
    for question in questions:
        answer = next(waiting) if question.examples else None
        values, missing = spaces[question.space].checked(answer.value if answer else None)
        reason = (answer.reason or missing) if answer else "no examples"
        found.append(
            FeatureLabels(
                question.feature_id,
                question.space,
                values,
                reason if missing else None,
                answer.call if answer else None,
            )
        )
    return found
