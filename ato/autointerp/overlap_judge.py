"""The token overlap judge: compares words, knows no meaning and calls no model. Its scores are a lower bound for others."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.questions import (
    Answer,
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
    Question,
)
from ato.autointerp.word_forms import (
    FUNCTION_WORDS,
    active_words,
    described_words,
    marked_words,
    quoted,
    words_of,
)
from ato.features.excerpts import Excerpt

N_WORDS = (8, 3, 16, 1, 32)
"""Words of a description at most, by the number of the candidate; further candidates repeat them."""
_DISTINCTIVE = 1.0
"""Standard errors of its log odds by which a word is distinctive."""
_FUNCTIONAL = 0.75
"""Share of function words among active ones from which a feature is described by them."""


@dataclass(frozen=True)
class Background:
    """In how many windows of text each word stands, whatever the feature."""

    counts: Mapping[str, int] = field(default_factory=dict)
    n_windows: int = 0

    @classmethod
    def of(cls, windows: Iterable[Excerpt]) -> "Background":
        """Of any windows, such as random ones of train documents."""
        counts: Counter[str] = Counter()
        n = 0
        for window in windows:
            counts.update(set(words_of(window.text).forms))
            n += 1
        return cls(counts, n)


@dataclass(frozen=True)
class OverlapJudge:
    """Describes a feature by the words it fires on, and finds it where these words stand.

    - Description: the words whose presence among active tokens is the most distinctive: log odds ratio of standing
      active in an example against standing silent in one (or in the background), over its standard error, with half a
      count added to each cell (Haldane, 1956; Anscombe, 1956). Words of one example alone only where no others are.
    - Detection: yes where a described word stands in the text.
    - Fuzzing: yes where described words are more frequent among the marked words than among the others.
    - Intruder: the text that shares the fewest words with the others, the first of equals.
    - Classification: the value of which most listed words are among the 32 most distinctive; none for properties whose
      values list no words.

    Words are runs of letters and digits, case-folded: in scripts without spaces they are whole clauses.
    """

    background: Background = Background()
    spaces: Mapping[str, LabelSpace] = field(default_factory=dict)
    name: ClassVar[str] = "overlap"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in their order."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        match question:
            case DescriptionQuestion():
                words = self.distinctive(question.examples)[: N_WORDS[question.candidate % len(N_WORDS)]]
                return Answer(quoted(words)) if words else Answer(None, reason="no active word in the examples")
            case DetectionQuestion():
                present = words_of(question.excerpt.text).forms
                return Answer(not described_words(question.description).isdisjoint(present))
            case FuzzingQuestion():
                return _fuzz(question)
            case IntruderQuestion():
                return self._intruder(question)
            case ClassificationQuestion():
                return self._classify(question)

    def distinctive(self, examples: Sequence[Excerpt]) -> list[str]:
        """Active words of examples, the most distinctive first; at least one where any is active."""
        active: Counter[str] = Counter()
        silent: Counter[str] = Counter()
        for example in examples:
            fires, never = active_words(example)
            active.update(fires)
            silent.update(never)
        words = sorted(active)
        if not words:
            return []
        n, m = len(examples), len(examples) + self.background.n_windows
        y = np.array([active[word] for word in words])
        s = np.array([silent[word] + self.background.counts.get(word, 0) for word in words])
        cells = np.stack([y, n - y, s, m - s]) + 0.5
        z = (np.array([1, -1, -1, 1]) @ np.log(cells)) / np.sqrt((1 / cells).sum(0))
        functional = np.array([word in FUNCTION_WORDS for word in words])
        if y[functional].sum() < _FUNCTIONAL * y.sum():
            z[functional] = -np.inf
        # What a single example holds is its own; without anything better it is said all the same.
        kept = (z >= _DISTINCTIVE) & (y >= 2)
        order = np.lexsort((-z, ~kept))
        return [words[i] for i in order[: max(int(kept.sum()), 1)]]

    def _intruder(self, question: IntruderQuestion) -> Answer:
        texts = [set(words_of(excerpt.text).forms) - FUNCTION_WORDS for excerpt in question.excerpts]
        standing = Counter(word for text in texts for word in text)
        # Words that every window of text holds say nothing of what two texts have in common.
        weights = {word: self._rarity(word) * (n - 1) for word, n in standing.items()}
        shared = [sum(weights[word] for word in sorted(text)) for text in texts]
        size = [sum(self._rarity(word) for word in sorted(text)) for text in texts]
        overlap = [part / whole if whole else 0.0 for part, whole in zip(shared, size)]
        return Answer(int(np.argmin(overlap))) if overlap else Answer(None, reason="no texts")

    def _rarity(self, word: str) -> float:
        return float(np.log((self.background.n_windows + 2) / (self.background.counts.get(word, 0) + 1)))

    def _classify(self, question: ClassificationQuestion) -> Answer:
        if question.space not in self.spaces:
            return Answer(None, reason=f"unknown label space {question.space}")
        words = self.distinctive(question.examples)[: max(N_WORDS)]
        found: dict[str, str] = {}
        for of in self.spaces[question.space].properties:
            hits = [sum(word in value.words for word in words) for value in of.values]
            if of.applies(found) and max(hits) > 0:
                found[of.name] = of.values[int(np.argmax(hits))].name
        return Answer(found) if found else Answer(None, reason="no listed word among the distinctive ones")


def _fuzz(question: FuzzingQuestion) -> Answer:
    described = described_words(question.description)
    shares = [
        sum(form in described for form in forms) / len(forms) if forms else 0.0
        for forms in marked_words(question.excerpt, question.marked)
    ]
    return Answer(shares[0] > shares[1])
