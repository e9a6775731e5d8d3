"""The judge that gives one answer to everything: what a score must beat, since its balanced accuracy is one half."""

from collections.abc import Sequence
from dataclasses import dataclass

from ato.autointerp.questions import Answer, DetectionQuestion, FuzzingQuestion, IntruderQuestion, Question


@dataclass(frozen=True)
class ConstantJudge:
    """Says yes (or no) to every text and marking, and takes the first text for the intruder."""

    yes: bool = True

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return "always yes" if self.yes else "always no"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question; none to questions for a text or for values."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        match question:
            case DetectionQuestion() | FuzzingQuestion():
                return Answer(self.yes)
            case IntruderQuestion():
                return Answer(0)
            case _:
                return Answer(None, reason="this judge says yes or no")
