"""Texts from elsewhere inside Streamlit's Markdown: no image that a browser would fetch, no link, no formula."""

from ato.text.display import visible

_ESCAPED = str.maketrans({"[": r"\[", "]": r"\]", "$": r"\$", "<": r"\<"})


def plain(text: object) -> str:
    """A text that Markdown shows as it is; what it holds comes from corpora, addresses or other people's files.

    >>> plain("![a](http://x) costs $5")
    '!\\\\[a\\\\](http://x) costs \\\\$5'
    """
    return visible(str(text), keep="\n").translate(_ESCAPED)
