"""The colours of every map of r2 from 0 to 1: viridis, dark to light, the same on pages, in reports and in terminals."""

ANCHORS = (
    "#440154",
    "#472d7b",
    "#3b528b",
    "#2c728e",
    "#21918c",
    "#28ae80",
    "#5ec962",
    "#addc30",
    "#fde725",
)
"""Colours at 0, 1/8, ..., 1; between them channels change linearly. Readable for the colour-blind, and in grey."""
DARK_BELOW = 0.6
"""Values below this have white text on them, others black."""


def map_colour(value: float) -> str:
    """The colour of a value, as ``#rrggbb``; values beyond 0 and 1 have the colours of the ends."""
    place = min(max(value, 0.0), 1.0) * (len(ANCHORS) - 1)
    below = min(int(place), len(ANCHORS) - 2)
    low, high = (_channels(ANCHORS[below + step]) for step in (0, 1))
    mixed = (round(a + (b - a) * (place - below)) for a, b in zip(low, high))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def map_ink(value: float) -> str:
    """White or black, whichever is readable on the colour of a value."""
    return "#ffffff" if value < DARK_BELOW else "#000000"


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
