"""Numbers as the report and the command line write them."""

from collections.abc import Sequence
from typing import Any


def extent(rows: Sequence[dict[str, Any]], name: str) -> str:
    """Smallest to largest value of a column of counts: ``120`` or ``80 to 120``."""
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return "no"
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def number(value: float | None, digits: int = 2) -> str:
    """A number for the page; a dash where it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(row: dict[str, Any], name: str, digits: int = 2) -> str:
    """A score with its interval: ``0.81 [0.78, 0.84]``."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    bounds = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return number(row[name], digits) + bounds
