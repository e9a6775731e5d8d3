"""Words of names and answers as they are compared: without case, accents and possessive endings."""

import re
import unicodedata

_LETTERS = str.maketrans(
    {
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "ı": "i",
    }
)
_APOSTROPHES = re.compile(r"['’‘ʻʼʾʿ`´]")
_POSSESSIVE = re.compile(r"['’]s\b")
_WORD = re.compile(r"\w+")


def fold(text: str) -> str:
    """The text with accents and typographic letters written as plain ones; case stays."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def cased_words_of(text: str) -> list[str]:
    """The words of a text, folded, with their case; ``Kubrick's`` is Kubrick, ``O'Neill`` ONeill, ``d.c.`` two words."""
    return _WORD.findall(_plain(text))


def phrases_of(text: str) -> list[list[str]]:
    """The same words, a list for each stretch of text that holds no punctuation but hyphens and the dots of initials."""
    undotted = re.sub(r"\b([A-Z])\.", r"\1 ", _plain(text))
    return [words for part in re.split(r"[^\w\s-]+|\n", undotted) if (words := _WORD.findall(part))]


def _plain(text: str) -> str:
    return _APOSTROPHES.sub("", _POSSESSIVE.sub("", fold(text)))


def words_of(text: str) -> list[str]:
    """The words of a text, folded, in lower case."""
    return [word.lower() for word in cased_words_of(text)]


def similarity(a: str, b: str) -> float:
    """200 LCS(a, b) / (len a + len b), between 0 and 100: the indel ratio of the fuzzy matchers.

    The longest common subsequence is found bit-parallel (Hyyrö, 2004).
    """
    if not a or not b:
        return 100.0 * (a == b)
    places: dict[str, int] = {}
    for i, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for character in b:
        matched = row & places.get(character, 0)
        row = ((row + matched) | (row - matched)) & full
    return 200.0 * (len(a) - row.bit_count()) / (len(a) + len(b))
