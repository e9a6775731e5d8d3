"""Is a name in an answer? Whole words in a row, nearly the same where a name is long, never within a longer name."""

from collections.abc import Iterable

from ato.entities.country_names import LONGER_NAMES
from ato.entities.words import cased_words_of, similarity, words_of

THRESHOLD = 90.0
"""Similarity above which a name counts as written, as the fuzzy matchers of the study have it."""
_SHORTEST_FUZZY = 9
"""Characters: shorter names are one letter from other names (Niger, Mali) and must be exact."""
_NEGATIONS = {"not", "never", "isnt", "wasnt", "arent", "nor", "neither", "except"}
_SUFFIXES = {"jr", "sr", "ii", "iii", "iv"}
_PARTICLES = {
    "de",
    "da",
    "di",
    "la",
    "le",
    "du",
    "del",
    "der",
    "den",
    "van",
    "von",
    "al",
    "bin",
    "ibn",
    "el",
    "dos",
    "das",
    "ten",
    "ter",
}
_BEFORE_SURNAME = {
    "the", "by", "is", "was", "it", "he", "she", "and", "director", "writer", "actor", "actress", "author", "creator", "mr", "mrs", "ms",
    "dr", "sir", "lord", "saint", "a", "of", "in", "artist", "composer", "screenwriter", "with", "for", "that", "performer", "singer",
}  # fmt: skip


def any_name_in(names: Iterable[str], answer: str) -> bool:
    """Whether one of the names is among the words of the answer.

    Case, accents and punctuation do not count, nor a leading article of the name. A name of nine characters or more may
    differ by spelling (similarity above 90, as word set or in order). A name right behind a negation, or within a longer
    name of another place (Guinea in Papua New Guinea), does not count.
    """
    golds = [gold for name in names if (gold := _gold(name))]
    words = words_of(answer)
    for longer in sorted((_gold(name) for name in LONGER_NAMES), key=len, reverse=True):
        if not any(_index(longer, gold) is not None for gold in golds if len(gold) >= len(longer)):
            words = _without(words, longer)
    return any(_stands(gold, words) for gold in golds)


def any_person_in(names: Iterable[str], answer: str) -> bool:
    """The same for people, who may also be named by first and last name only, or by a capitalised last name alone.

    A last name behind another first name (Sofia Coppola for Francis Ford Coppola) is another person.
    """
    names = list(names)
    if any_name_in(names, answer):
        return True
    cased = cased_words_of(answer)
    return any(_named_in_part(_gold(name), cased) for name in names)


def _named_in_part(gold: list[str], cased: list[str]) -> bool:
    while len(gold) > 1 and gold[-1] in _SUFFIXES:
        gold = gold[:-1]
    if len(gold) < 2 or len(gold[-1]) < 3:
        return False
    surname, first_names = gold[-1], gold[:-1]
    for i, word in enumerate(cased):
        if word.lower() != surname or not word[:1].isupper():
            continue
        before = cased[:i]
        while before and before[-1].lower() in _PARTICLES and before[-1].lower() in first_names:
            before.pop()
        previous = before[-1] if before else ""
        if previous.lower() in _NEGATIONS:
            continue
        initial = len(previous) == 1 and any(part.startswith(previous.lower()) for part in first_names)
        if (
            initial
            or previous.lower() in _BEFORE_SURNAME
            or previous.lower() in first_names
            or not previous[:1].isupper()
        ):
            return True
    return False


def _gold(name: str) -> list[str]:
    words = words_of(name)
    return words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words


def _stands(gold: list[str], words: list[str]) -> bool:
    text = " ".join(gold)
    as_set = " ".join(sorted(gold))
    for i in range(len(words) - len(gold) + 1):
        window = words[i : i + len(gold)]
        if _NEGATIONS & set(words[max(0, i - 2) : i]):
            continue
        if window == gold:
            return True
        if len(text) < _SHORTEST_FUZZY or {word for word in window if word.isdigit()} != {
            w for w in gold if w.isdigit()
        }:
            continue
        if max(similarity(text, " ".join(window)), similarity(as_set, " ".join(sorted(window)))) > THRESHOLD:
            return True
    return False


def _index(part: list[str], words: list[str]) -> int | None:
    return next((i for i in range(len(words) - len(part) + 1) if words[i : i + len(part)] == part), None)


def _without(words: list[str], part: list[str]) -> list[str]:
    while (i := _index(part, words)) is not None:
        words = [*words[:i], "·", *words[i + len(part) :]]
    return words
