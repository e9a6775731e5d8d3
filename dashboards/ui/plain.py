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


def without_markdown(text: str) -> str:
    """The words of a note: without the marks of code and emphasis, and without backslashes before marks.

    >>> without_markdown("Run `ato run saes`; costs \\\\$5, **not** more")
    'Run ato run saes; costs $5, not more'
    """
    return re.sub(r"\\([^\w\s])|`|\*\*", lambda found: found[1] or "", text)
