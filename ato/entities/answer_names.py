"""Is a name in an answer? Whole words in a row, nearly the same where a name is long, never within a longer name."""

from collections.abc import Iterable
from functools import cache, lru_cache

from ato.entities.country_names import LONGER_NAMES
from ato.entities.words import cased_words_of, fold, phrases_of, similarity, words_of

THRESHOLD = 90.0
"""Similarity above which a name counts as written, as the fuzzy matchers of the study have it."""
_SHORTEST_FUZZY = 9
"""Characters: shorter names are one letter from other names (Niger, Mali) and must be exact."""
_NEGATIONS = {"not", "never", "isnt", "wasnt", "arent", "nor", "neither", "except"}
_SUFFIXES = {"jr", "sr", "ii", "iii", "iv"}
_MASK = "·"
_BEFORE_SURNAME = {
    "the", "by", "is", "was", "it", "he", "she", "and", "director", "writer", "actor", "actress", "author", "creator", "mr", "mrs", "ms",
    "dr", "sir", "lord", "saint", "a", "of", "in", "artist", "composer", "screenwriter", "with", "for", "that", "performer", "singer",
}  # fmt: skip


def any_name_in(names: Iterable[str], answer: str) -> bool:
    """Whether one of the names is among the words of the answer.

    Case, accents and punctuation do not count, nor a leading article of the name; abbreviations (``US``) keep their case. A
    name of nine characters or more may differ by spelling (similarity above 90, in order or sorted). A name right behind
    a negation, or within a longer name of another place (Guinea in Papua New Guinea), does not count.
    """
    cased = cased_words_of(answer)
    words = tuple(word.lower() for word in cased)
    golds = {gold: name for name in names if (gold := _gold(name))}
    holding = [gold for gold in golds if any(_index(place, gold) is not None for place in _longer_names())]
    if any(_stands(gold, words) for gold in holding):
        return True
    for place in _longer_names():
        words = _without(words, place)
    for gold, name in golds.items():
        if len(gold) == 1 and 1 < len(name) <= 4 and name.isupper():
            if any(cased[i] == fold(name) and word != _MASK for i, word in enumerate(words)):
                return True
        elif gold not in holding and _stands(gold, words):
            return True
    return False


def any_person_in(names: Iterable[str], answer: str) -> bool:
    """Whether one of the people (or groups of people) is named in the answer, in full or by a capitalised last name.

    The last name may have first names or initials of the person in front of it. Behind another first name (Sofia Coppola
    for Francis Ford Coppola), in front of another last name (Dylan Thomas for Bob Dylan), or behind a negation it does not
    count; nor does a name of one word without its capital (the queen of soul for Queen).
    """
    names = list(names)
    if any_name_in([name for name in names if len(_gold(name)) > 1], answer):
        return True
    phrases = phrases_of(answer)
    return any(_named_in_part(_gold(name), phrase) for name in names for phrase in phrases)


def _named_in_part(gold: tuple[str, ...], phrase: list[str]) -> bool:
    while len(gold) > 1 and gold[-1] in _SUFFIXES:
        gold = gold[:-1]
    if not gold or (len(gold) > 1 and len(gold[-1]) < 3):
        return False
    surname, first_names = gold[-1], gold[:-1]
    for i, word in enumerate(phrase):
        if not word[:1].isupper() or not _same_surname(surname, word.lower()):
            continue
        following = phrase[i + 1] if i + 1 < len(phrase) else ""
        if following[:1].isupper() and following.lower() not in _SUFFIXES:
            continue
        before = phrase[:i]
        while before and _belongs(before[-1], first_names):
            before.pop()
        if _NEGATIONS & {other.lower() for other in before[-2:]}:
            continue
        previous = before[-1] if before else ""
        if previous.lower() in _BEFORE_SURNAME or not previous[:1].isupper():
            return True
    return False


def _belongs(word: str, first_names: tuple[str, ...]) -> bool:
    lower = word.lower()
    if (
        word.isupper()
        and 1 < len(word) <= len(first_names) + 1
        and all(any(part.startswith(letter) for part in first_names) for letter in lower)
    ):
        return True  # initials without dots
    return lower in first_names or (
        len(lower) == 1 and lower != "a" and any(part.startswith(lower) for part in first_names)
    )


def _same_surname(surname: str, word: str) -> bool:
    return word == surname or (len(surname) >= _SHORTEST_FUZZY and _near(surname, word))


@cache
def _longer_names() -> tuple[tuple[str, ...], ...]:
    return tuple(sorted((_gold(name) for name in LONGER_NAMES), key=len, reverse=True))


@lru_cache(maxsize=1 << 16)
def _gold(name: str) -> tuple[str, ...]:
    words = tuple(words_of(name))
    return words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words


def _stands(gold: tuple[str, ...], words: tuple[str, ...]) -> bool:
    text, sorted_text = " ".join(gold), " ".join(sorted(gold))
    digits = {word for word in gold if word.isdigit()}
    for i in range(len(words) - len(gold) + 1):
        window = words[i : i + len(gold)]
        if _NEGATIONS & set(words[max(0, i - 2) : i]):
            continue
        if window == gold:
            return True
        if len(text) < _SHORTEST_FUZZY or {word for word in window if word.isdigit()} != digits:
            continue
        if _near(text, " ".join(window)) or _near(sorted_text, " ".join(sorted(window))):
            return True
    return False


def _near(a: str, b: str) -> bool:
    """Similarity above the threshold; names of unlike lengths cannot reach it and are not compared."""
    return 200.0 * min(len(a), len(b)) > THRESHOLD * (len(a) + len(b)) and similarity(a, b) > THRESHOLD


def _index(part: tuple[str, ...], words: tuple[str, ...]) -> int | None:
    return next((i for i in range(len(words) - len(part) + 1) if words[i : i + len(part)] == part), None)


def _without(words: tuple[str, ...], part: tuple[str, ...]) -> tuple[str, ...]:
    """The words with the part masked, so that the places of the others stay."""
    while part[0] in words and (i := _index(part, words)) is not None:
        words = (*words[:i], *(_MASK,) * len(part), *words[i + len(part) :])
    return words
