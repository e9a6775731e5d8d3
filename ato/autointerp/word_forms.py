"""Words of texts and of descriptions, as the token overlap judge compares them."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ato.features.excerpts import Excerpt

_WORD = re.compile(r"\w+|[^\w\s]")
_QUOTED = re.compile(r'"([^"\s]+|")"')

_FUNCTION_WORDS = """a about after all also an and any are as at be because been before being between both but by can
could did do does each even for from had has have he her here him his how i if in into is it its just like may me more most
must my no not now of on one only or other our out over own same she should so some such than that the their them then there
these they this those through to too under until up upon us was we were what when where which while who whom whose why will
with would you your"""
_LABEL_WORDS = """activate activates activating activation context contexts especially feature features fire fires firing
mention mentions often particularly phrase phrases reference references related sentence sentences specifically term terms
text texts token tokens typically usually various word words"""

FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split()) | frozenset("!\"'(),-./:;?[]_`“”‘’–—")
"""English words and signs that stand in texts of every kind: prose descriptions hold them without meaning them."""
_OF_LABELS = frozenset(_LABEL_WORDS.split())
"""Words of which labels are made, whatever they describe."""


@dataclass(frozen=True)
class Words:
    """Case-folded words and single signs of a text, and where they stand."""

    forms: tuple[str, ...]
    starts: np.ndarray
    """[n_words] int64, characters."""
    ends: np.ndarray
    """Past the last character."""


@lru_cache(maxsize=1 << 16)
def words_of(text: str) -> Words:
    """Words of a text; remembered, since an excerpt is asked about more than once."""
    found = [(match.group().casefold(), *match.span()) for match in _WORD.finditer(text)]
    spans = np.array([span for _, *span in found], dtype=np.int64).reshape(-1, 2)
    return Words(tuple(form for form, *_ in found), spans[:, 0], spans[:, 1])


def words_at(excerpt: Excerpt, token: np.ndarray) -> np.ndarray:
    """Which words of the text hold a character of the given tokens.

    Args:
        excerpt: of n tokens.
        token: [n] bool, the tokens.

    Returns:
        [n_words] bool; a word of several tokens is held by any of them.
    """
    words = words_of(excerpt.text)
    characters = np.repeat(token, [len(text) for text in excerpt.tokens])
    before = np.concatenate([[0], np.cumsum(characters)])
    return before[words.ends] > before[words.starts]


def active_words(excerpt: Excerpt) -> tuple[set[str], set[str]]:
    """Words that the feature fires on in the excerpt, and those on which it never does."""
    held = words_at(excerpt, np.array(excerpt.activations) > 0)
    forms = words_of(excerpt.text).forms
    active = {form for form, fires in zip(forms, held) if fires}
    return active, set(forms) - active


def marked_words(excerpt: Excerpt, marked: Collection[int]) -> tuple[list[str], list[str]]:
    """Words that hold a marked token, and the others, each as often as it stands there."""
    token = np.zeros(len(excerpt.tokens), dtype=bool)
    token[list(marked)] = True
    forms, held = words_of(excerpt.text).forms, words_at(excerpt, token)
    return [form for form, inside in zip(forms, held) if inside], [
        form for form, inside in zip(forms, held) if not inside
    ]


@lru_cache(maxsize=1 << 12)
def described_words(description: str) -> frozenset[str]:
    """Words that a description is about.

    Those it quotes (``"cat", "dog"``); without quotes all that are neither function words nor words of which labels are
    made, and where nothing is left, all.
    """
    quoted = [form for part in _QUOTED.findall(description) for form in words_of(part).forms]
    forms = frozenset(quoted or words_of(description).forms)
    return forms if quoted else (forms - FUNCTION_WORDS - _OF_LABELS) or forms


def quoted(words: Iterable[str]) -> str:
    """A description that names words: what ``described_words`` reads back."""
    return ", ".join(f'"{word}"' for word in words)
