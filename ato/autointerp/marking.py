"""How an excerpt is written with some of its tokens marked: one format for examples and for trials."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

OPEN, CLOSE = "<<", ">>"

_OTHERS = (("[[", "]]"), ("{{", "}}"), ("⟦", "⟧"), ("⟪", "⟫"))
_PRIVATE = range(0xE000, 0xF8FF, 2)


@dataclass(frozen=True)
class Marks:
    """What stands before and after marked text."""

    open: str = OPEN
    close: str = CLOSE


def marks_for(texts: Iterable[str]) -> Marks:
    """Marks that stay unambiguous in these texts: ``<<`` and ``>>``, or else the first pair with no character in them.

    A text that holds but one ``<`` already takes another pair: before a mark it would be read as a part of it.
    """
    seen = set().union(*map(set, texts))
    pairs = ((OPEN, CLOSE), *_OTHERS, *((chr(code), chr(code + 1)) for code in _PRIVATE))
    return next((Marks(*pair) for pair in pairs if seen.isdisjoint("".join(pair))), Marks(*pairs[-1]))


def whole_characters(tokens: Sequence[str], indices: Collection[int]) -> frozenset[int]:
    """The tokens that hold the text at these indices: an empty token continues a character of the last one that is not.

    Empty tokens at the beginning continue a character that the excerpt lacks; they hold no text, and are left out.
    """
    holders: list[int] = []
    for index, token in enumerate(tokens):
        holders.append(index if token else holders[-1] if holders else -1)
    return frozenset(holders[index] for index in indices) - {-1}


def mark(tokens: Sequence[str], marked: Collection[int], marks: Marks | None = None) -> str:
    """The text of the tokens with the marked ones between marks; neighbours that are marked share one pair of marks.

    Args:
        tokens: of an excerpt; empty where they continue a character.
        marked: indices of tokens.
        marks: None chooses those of ``marks_for`` this text; texts that are shown together share theirs.
    """
    marks = marks or marks_for(tokens)
    held = whole_characters(tokens, marked)
    visible = [(index in held, token) for index, token in enumerate(tokens) if token]
    parts = ((inside, "".join(token for _, token in run)) for inside, run in groupby(visible, lambda pair: pair[0]))
    return "".join(f"{marks.open}{text}{marks.close}" if inside else text for inside, text in parts)
