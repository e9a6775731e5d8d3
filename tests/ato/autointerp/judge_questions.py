"""Questions that tests ask judges."""

from ato.autointerp.label_spaces import parse_label_space
from ato.autointerp.questions import (
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
)
from ato.features.excerpts import Excerpt, Origin

SPACES = {
    "kinds": parse_label_space(
        {
            "name": "kinds",
            "properties": [
                {
                    "name": "category",
                    "meaning": "What is it about?",
                    "values": [{"name": "domain", "meaning": "a field"}, {"name": "language", "meaning": "text"}],
                },
                {
                    "name": "confidence",
                    "meaning": "How sure is it?",
                    "values": [{"name": "high", "meaning": "most fit"}, {"name": "low", "meaning": "few fit"}],
                    "when": {"category": "domain"},
                },
            ],
        }
    )
}


def excerpt(text: str, active: str | None = None) -> Excerpt:
    """A text of words, active on one of them."""
    words = text.split(" ")
    tokens = tuple(word if i == 0 else " " + word for i, word in enumerate(words))
    activations = tuple(2.0 if word == active else 0.0 for word in words)
    return Excerpt(tokens, activations, Origin("corpus", 0, 0, 0, 0, "test"))


def descriptions(n: int) -> list[DescriptionQuestion]:
    """Of n features."""
    return [DescriptionQuestion(i, (excerpt(f"the word{i} of", f"word{i}"),), (f" word{i}",)) for i in range(n)]


def trials(i: int, n: int = 6) -> list[DetectionQuestion | FuzzingQuestion]:
    """Detection and fuzzing of one feature, n each."""
    texts = [excerpt(f"text {k} of feature {i}") for k in range(n)]
    about = f"fires on word{i}"
    detection = [DetectionQuestion(about, text) for text in texts]
    return [*detection, *(FuzzingQuestion(about, text, frozenset({1})) for text in texts)]


def intruder(i: int = 0) -> IntruderQuestion:
    """Three texts."""
    return IntruderQuestion(tuple(excerpt(f"text {k} of {i}") for k in range(3)))


def classification(i: int = 0, space: str = "kinds") -> ClassificationQuestion:
    """Of the space ``SPACES["kinds"]``."""
    return ClassificationQuestion(i, (excerpt(f"a word{i} b", f"word{i}"),), space)
