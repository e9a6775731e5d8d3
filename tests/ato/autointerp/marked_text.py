"""Marked text read back."""

from collections.abc import Iterator

from ato.autointerp.marking import Marks


def marked_spans(text: str, marks: Marks) -> Iterator[tuple[int, int]]:
    """Character spans, begin and end, that were marked, in the text without its marks: what ``mark`` wrote, read back."""
    place = 0
    for number, part in enumerate(text.split(marks.open)):
        inside, close, after = part.partition(marks.close)
        if number and close:
            yield place, place + len(inside)
        place += len(inside) + len(after)
