"""What a language model is asked: instructions that are the same for all features, then the feature's own texts.

Examples and trials are written by one formatter (``ato.autointerp.marking``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ato.autointerp.label_spaces import LabelProperty, LabelSpace
from ato.autointerp.marking import Marks, mark, marks_for
from ato.autointerp.questions import (
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
)
from ato.autointerp.schemas import (
    Schema,
    classification_schema,
    description_schema,
    intruder_schema,
    verdicts_schema,
)
from ato.features.excerpts import Excerpt

MARKED_FROM = 0.3
"""Share of an example's peak from which its tokens are marked, as in delphi."""

_FEATURE = (
    "A feature is a direction inside a language model: it is active on some tokens of a text and silent on all others. "
)
_MARKS = "Where it is active, the text stands between {open} and {close}; these marks are not part of the text. "
_DESCRIBE = (
    "You describe features. " + _FEATURE + _MARKS + "Say in one phrase of at most 15 words what the marked tokens have "
    "in common: what triggers the feature, and in which context. Only the marked tokens and the text before them can "
    "matter. Be as specific as the examples allow, do not mention the marks, and do not force a pattern that most of "
    'the examples lack. Reply as {{"description": "..."}}.'
)
_DETECT = (
    "You test descriptions of features. "
    + _FEATURE
    + "You are given the description of a feature and numbered texts. Say of each text, on its own, whether the feature "
    "is active anywhere in it: true or false. All of them may be true, and all of them false. "
    'Reply as {{"answers": [...]}}, in the order of the texts.'
)
_FUZZ = (
    "You test descriptions of features. "
    + _FEATURE
    + "You are given the description of a feature and numbered texts, in which some tokens stand between {open} and "
    "{close}; these marks are not part of the text. Say of each text, on its own, whether the marked tokens are those "
    "on which the feature is active: true or false. All of them may be true, and all of them false. "
    'Reply as {{"answers": [...]}}, in the order of the texts.'
)
_INTRUDER = (
    "You find the odd one out. "
    + _FEATURE
    + "You are given numbered texts. One feature is active in all of them but one. "
    'Name the number of the text in which it is silent. Reply as {{"intruder": number}}.'
)
_CLASSIFY = (
    "You classify features. " + _FEATURE + _MARKS + "Judge by where the feature is active and by the tokens that it "
    "promotes. That tokens stand near each other in text of one kind is not enough: if most of the examples lack a "
    "pattern, do not force one. Choose one value of each property:\n{properties}\nReply as one JSON object."
)


@dataclass(frozen=True)
class Prompt:
    """One request's worth of questions."""

    purpose: str
    system: str
    user: str
    schema: Schema
    max_tokens: int
    """That a reply of this form may take."""

    @property
    def messages(self) -> tuple[dict[str, str], ...]:
        """As servers take them."""
        return ({"role": "system", "content": self.system}, {"role": "user", "content": self.user})


def describe(question: DescriptionQuestion) -> Prompt:
    """What a feature fires on."""
    marks = _marks(question.examples)
    user = _examples(question.examples, marks) + _promoted(question.promoted)
    return Prompt("description", _told(_DESCRIBE, marks), user, description_schema(), 128)


def detect(description: str, questions: Sequence[DetectionQuestion]) -> Prompt:
    """Whether the feature of a description (one line) fires in each of some texts."""
    user = _verdicts(description, [question.excerpt.text for question in questions])
    return Prompt("detection", _DETECT.format(), user, verdicts_schema(len(questions)), 16 + 8 * len(questions))


def fuzz(description: str, questions: Sequence[FuzzingQuestion]) -> Prompt:
    """Whether the marked tokens of each of some texts are those that the feature of a description fires on."""
    marks = _marks([question.excerpt for question in questions])
    texts = [mark(question.excerpt.tokens, question.marked, marks) for question in questions]
    user = _verdicts(description, texts)
    return Prompt("fuzzing", _told(_FUZZ, marks), user, verdicts_schema(len(questions)), 16 + 8 * len(questions))


def find_intruder(question: IntruderQuestion) -> Prompt:
    """Which of some texts is the odd one."""
    texts = [excerpt.text for excerpt in question.excerpts]
    return Prompt("intruder", _INTRUDER.format(), _numbered(texts), intruder_schema(len(texts)), 24)


def classify(question: ClassificationQuestion, space: LabelSpace) -> Prompt:
    """Which value a feature takes for each property of a label space."""
    marks = _marks(question.examples)
    schema = classification_schema({of.name: [value.name for value in of.values] for of in space.properties})
    system = _told(_CLASSIFY, marks, properties="\n".join(map(_property, space.properties)))
    user = _examples(question.examples, marks) + _promoted(question.promoted)
    return Prompt("classification", system, user, schema, 32 + 32 * len(schema["properties"]))


def _property(of: LabelProperty) -> str:
    """A property with its values and what they mean."""
    only = f" It counts only where {of.when[0]} is {of.when[1]}." if of.when else ""
    return "\n".join(
        [f"- {of.name}: {of.meaning}{only}", *(f"  - {value.name}: {value.meaning}" for value in of.values)]
    )


def _marks(excerpts: Sequence[Excerpt]) -> Marks:
    return marks_for(excerpt.text for excerpt in excerpts)


def _told(template: str, marks: Marks, **more: Any) -> str:
    return template.format(open=marks.open, close=marks.close, **more)


def _examples(examples: Sequence[Excerpt], marks: Marks) -> str:
    """Examples with the tokens marked that are active enough."""
    return _numbered([mark(example.tokens, _active(example), marks) for example in examples])


def _active(example: Excerpt) -> frozenset[int]:
    least = MARKED_FROM * example.peak
    return frozenset(i for i, value in enumerate(example.activations) if value > 0 and value >= least)


def _promoted(tokens: Sequence[str]) -> str:
    return f"\n\nTokens that it promotes: {', '.join(map(repr, tokens))}" if tokens else ""


def _verdicts(description: str, texts: Sequence[str]) -> str:
    return f"Description: {description}\n\n{_numbered(texts)}"


def _numbered(texts: Sequence[str]) -> str:
    return "\n\n".join(f"Text {number}:\n{text.strip()}" for number, text in enumerate(texts, 1))
