"""Texts from elsewhere inside Streamlit's Markdown: no image that a browser would fetch, no link, no formula."""

import re

from ato.text.display import visible

_ESCAPED = str.maketrans({"[": r"\[", "]": r"\]", "$": r"\$", "<": r"\<"})


def plain(text: object) -> str:
    """A text that Markdown shows as it is; what it holds comes from corpora, addresses or other people's files.

    >>> plain("![a](http://x) costs $5")
    '!\\\\[a\\\\](http://x) costs \\\\$5'
    """
    return visible(str(text), keep="\n").translate(_ESCAPED)


def caption(note: str) -> str:
    """The words of a note for paper: without marks of code and emphasis, and without what only a reader of the page can do.

    >>> caption("Bars: `ato run saes`, **not** more; costs \\\\$5. Tick a row to open it. n is above.")
    'Bars: ato run saes, not more; costs $5. n is above.'
    """
    words = re.sub(r"\\([^\w\s])|`|\*\*", lambda found: found[1] or "", note)
    return re.sub(r"(?:(?<=[.?!] )|^)(?:Click|Tick|Hover|Drag) [^.]*\.(?: |$)", "", words).strip()
