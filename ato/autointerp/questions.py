"""What a judge can be asked, and what it answers: every judge takes every question that it can see the answer of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ato.features.excerpts import Excerpt

DETECTION, FUZZING, INTRUDER, EMBEDDING = "detection", "fuzzing", "intruder", "embedding"
SCORERS = (DETECTION, FUZZING, INTRUDER, EMBEDDING)
"""Tests of descriptions, in the order in which they are told."""


@dataclass(frozen=True)
class DescriptionQuestion:
    """What does the feature fire on, in a phrase?"""

    feature_id: int
    examples: tuple[Excerpt, ...]
    promoted: tuple[str, ...] = ()
    candidate: int = 0
    """Number of this description among several of the same examples: each is drawn anew."""


@dataclass(frozen=True)
class DetectionQuestion:
    """Does the feature of this description fire anywhere in this text?"""

    description: str
    excerpt: Excerpt


@dataclass(frozen=True)
class FuzzingQuestion:
    """Are the marked tokens those on which the feature of this description fires?"""

    description: str
    excerpt: Excerpt
    marked: frozenset[int]
    """Indices of the marked tokens within the excerpt."""


@dataclass(frozen=True)
class IntruderQuestion:
    """Which of these texts is the odd one out?"""

    excerpts: tuple[Excerpt, ...]


@dataclass(frozen=True)
class ClassificationQuestion:
    """Which value does the feature take for each property of a label space?"""

    feature_id: int
    examples: tuple[Excerpt, ...]
    space: str
    """Name of the label space."""
    promoted: tuple[str, ...] = ()


Question = DescriptionQuestion | DetectionQuestion | FuzzingQuestion | IntruderQuestion | ClassificationQuestion


@dataclass(frozen=True)
class Answer:
    """A judge's answer; ``value`` is None where it gave none, and ``reason`` says why."""

    value: str | bool | int | dict[str, str] | None
    """The description, yes or no, the index of the intruder, or the value of each property."""
    probability: float | None = None
    """That the answer is yes (detection, fuzzing), or of the given answer; None where the judge has none."""
    reason: str | None = None
    call: str | None = None
    """Key of the call in ``llm_calls``; None for judges that call no model."""


class Judge(Protocol):
    """Answers questions; the answer depends on the question alone."""

    @property
    def name(self) -> str:
        """As it stands in the tables."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in their order."""
