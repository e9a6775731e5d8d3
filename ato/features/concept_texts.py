"""Texts with and without a concept: from a phrase by templates, or a user's own.

Half of them choose features, the other half measures them. Of a phrase these are halves of the templates and of the
other phrases, so that no chosen feature is measured on a frame or a contrast that helped to choose it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import SettingsError

TEMPLATES = (
    "I read a long article about {phrase} yesterday.",
    "My sister has always been interested in {phrase}, and so have I.",
    "What do you think about {phrase}? I have no opinion yet.",
    "The book begins with a chapter on {phrase} and ends with another one.",
    "We talked about {phrase} for most of the evening.",
    "There is a documentary on {phrase} tonight that you should see.",
    "Few people in our town had heard of {phrase} before that year.",
    "She gave a short talk on {phrase} at school.",
    "The museum has opened a new room that is all about {phrase}.",
    "When he was young, he wrote a letter about {phrase} to a friend.",
    "In the end everything came down to {phrase}, as they had expected.",
    "Please tell me more about {phrase} when you have time.",
    "Nobody at the table wanted to speak about {phrase} again.",
    "The picture on the wall reminded her of {phrase}.",
    "Last week the newspaper had a full page on {phrase}.",
    "If you ask me, {phrase} is worth a closer look.",
    "He could not stop thinking of {phrase} on the way home.",
    "The teacher asked the class a question about {phrase}.",
    "They named their project after {phrase}, which surprised us.",
    "Without {phrase} the story would have ended differently.",
    "A group of students is making a film about {phrase}.",
    "It was the first time that {phrase} came up in our letters.",
    "Her favourite subject is {phrase}, but she likes others too.",
    "The radio host introduced {phrase} and then played a song.",
)
"""Frames that a phrase of any kind fits in."""

OTHER_PHRASES = (
    "the Eiffel Tower",
    "quantum mechanics",
    "Isaac Newton",
    "a wooden chair",
    "the French Revolution",
    "photosynthesis",
    "the price of bread",
    "Mount Everest",
    "jazz music",
    "the human heart",
    "a bicycle race",
    "the Roman Empire",
    "global trade",
    "a winter storm",
    "Japanese cooking",
    "the Supreme Court",
    "artificial intelligence",
    "an old violin",
    "the Amazon River",
    "public schools",
    "a pair of shoes",
    "Ludwig van Beethoven",
    "the stock market",
    "wild horses",
)
"""Phrases of many kinds: what a concept is told apart from, and what the random-phrase null searches for."""

WITH, WITHOUT, OWN_WORD = 1, 0, -1
"""Labels of texts; those with a single word of the phrase are neither with nor without it."""
MIN_TEXTS = 4
"""Texts of a user's with and without the concept below which there is no search: two to choose on, two to measure on."""
CONCEPT = -1
"""In place of the number of another phrase."""
_SMALL_WORDS = {
    "a",
    "an",
    "the",
    "of",
    "in",
    "on",
    "at",
    "to",
    "and",
    "or",
    "for",
    "from",
    "by",
    "with",
    "is",
    "are",
    "s",
}


@dataclass(frozen=True, eq=False)
class ConceptTexts:
    """Texts with their labels and halves."""

    concept: str
    """The phrase, or a name of a user's texts."""
    texts: list[str]
    label: np.ndarray
    """[n] int8: ``WITH``, ``WITHOUT`` or ``OWN_WORD``."""
    chooses: np.ndarray
    """[n] bool: its template, or itself where it is a user's, is one that features are chosen on; else measured on."""
    phrase_chooses: np.ndarray
    """[n] bool: likewise its phrase; equal to ``chooses`` for texts of the concept and a user's."""
    template: np.ndarray | None
    """[n] int64, number of the template; None for a user's texts."""
    phrase: np.ndarray
    """[n] int64: number of the other phrase that it is about, -1 for the concept; 0 for a user's texts without it."""
    spans: list[list[tuple[int, int]]]
    """Of each text, the characters (first, behind the last) of its phrase, wherever that occurs."""

    def split(self, number: int = CONCEPT) -> tuple[np.ndarray, np.ndarray]:
        """Labels [n] to choose on and labels [n] to measure on, -1 where a text has no part in it.

        Args:
            number: an other phrase, which is then searched for in place of the concept, and told apart from the rest.
        """
        found = []
        for half in (True, False):
            wanted = (
                (self.phrase == number) & (self.chooses == half) & (self.label == (WITH if number < 0 else WITHOUT))
            )
            rest = (self.label == WITHOUT) & (self.phrase != number) & (self.chooses == half)
            found.append(np.where(wanted, 1, np.where(rest & (self.phrase_chooses == half), 0, -1)))
        choosing, measuring = found
        return choosing, measuring

    @property
    def has_spans(self) -> bool:
        """Whether every text with the concept names it."""
        return all(spans for spans, label in zip(self.spans, self.label) if label == WITH)


def phrase_texts(phrase: str, seed: int = 0) -> ConceptTexts:
    """Texts with a phrase, with other phrases, and with each word of the phrase alone, by all templates.

    Other phrases that share a word with the phrase are left out; articles and prepositions are no words here.

    Args:
        phrase: as it is written within a sentence.
        seed: which templates and phrases choose, and which measure.

    Raises:
        SettingsError: the phrase is empty.
    """
    phrase = " ".join(phrase.split())
    if not _words(phrase):
        raise SettingsError("the phrase is empty", cure='name a concept, such as "Golden Gate Bridge"')
    rng = np.random.default_rng(seed)
    own = _words(phrase)
    others = [other for other in OTHER_PHRASES if not _words(other).keys() & own.keys()]
    frame_chooses, other_chooses = _half(len(TEMPLATES), rng), _half(len(others), rng)
    texts, label, chooses, template, about, spans = [], [], [], [], [], []
    wanted = [(phrase, WITH, CONCEPT), *((other, WITHOUT, i) for i, other in enumerate(others))]
    wanted += [(word, OWN_WORD, CONCEPT) for word in own.values()] if len(own) > 1 else []
    for filling, kind, number in wanted:
        for i, frame in enumerate(TEMPLATES):
            start = frame.index("{phrase}")
            text = frame.replace("{phrase}", filling)
            texts.append(text[0].upper() + text[1:])
            label.append(kind)
            chooses.append(frame_chooses[i])
            template.append(i)
            about.append(number)
            spans.append([(start, start + len(filling))])
    of_phrase = np.array(about, dtype=np.int64)
    phrase_chooses = np.where(of_phrase == CONCEPT, chooses, other_chooses[of_phrase])
    kinds = np.array(label, dtype=np.int8), np.array(chooses), phrase_chooses
    return ConceptTexts(phrase, texts, *kinds, np.array(template, dtype=np.int64), of_phrase, spans)


def own_texts(
    concept: str, with_concept: Sequence[str], without: Sequence[str], phrase: str = "", seed: int = 0
) -> ConceptTexts:
    """A user's texts; half of each kind choose features.

    Args:
        concept: a name for them.
        with_concept: texts with the concept.
        without: texts without it.
        phrase: where it occurs, whatever the case, features can be told to be about it or about what is around it.
        seed: of the halves.

    Raises:
        SettingsError: too few texts, or a text that is on both sides.
    """
    for kind, given in (("with", with_concept), ("without", without)):
        if len(given) < MIN_TEXTS:
            cure = f"give {MIN_TEXTS} or more, twenty or more for an interval worth having"
            raise SettingsError(f"{len(given)} texts {kind} the concept", where=concept, cure=cure)
    if both := {*with_concept} & {*without}:
        problem = f"a text is both with and without the concept: {min(both)[:60]!r}"
        raise SettingsError(problem, where=concept, cure="leave it out of one of them")
    rng = np.random.default_rng(seed)
    texts = [*with_concept, *without]
    label = np.repeat(np.array([WITH, WITHOUT], dtype=np.int8), [len(with_concept), len(without)])
    chooses = np.concatenate([_half(len(with_concept), rng), _half(len(without), rng)])
    pattern = re.compile(re.escape(" ".join(phrase.split())), re.IGNORECASE) if phrase.strip() else None
    spans = [[match.span() for match in pattern.finditer(text)] if pattern else [] for text in texts]
    return ConceptTexts(concept, texts, label, chooses, chooses, None, np.where(label == WITH, CONCEPT, 0), spans)


def span_tokens(text: str, offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """[t] bool: tokens whose characters, without white space at their ends, overlap one of the spans.

    Args:
        text: of the tokens.
        offsets: characters (first, behind the last) of each token.
        spans: ranges of characters.
    """
    found = np.zeros(len(offsets), dtype=bool)
    for i, (start, end) in enumerate(offsets):
        part = text[start:end]
        start, end = start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
        found[i] = start < end and any(start < behind and end > first for first, behind in spans)
    return found


def _half(n: int, rng: np.random.Generator) -> np.ndarray:
    """[n] bool, half of them true, the larger half where n is odd."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[: (n + 1) // 2]] = True
    return chosen


def _words(text: str) -> dict[str, str]:
    """Distinct words of a phrase by their lower case, articles and prepositions left out unless there is nothing else."""
    found = {word.casefold(): word for word in re.findall(r"\w+", text)}
    return {folded: word for folded, word in found.items() if folded not in _SMALL_WORDS} or found
