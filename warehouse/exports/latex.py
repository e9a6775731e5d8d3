"""Rows as a LaTeX table in the style of booktabs: aligned numbers, one column for a value with its interval."""

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from warehouse.exports.about import About, file_stem
from warehouse.exports.latex_text import latex, prose

LONGEST_TABLE = 40
"""Rows of a table that stays on one page; longer ones are a ``longtable``."""
MISSING = "--"
_MOST_DECIMALS = 6
_LARGEST = 1e6
"""From here on numbers are written with a power of ten."""


def latex_file(rows: pl.DataFrame, about: About) -> bytes:
    r"""A LaTeX table of all rows; ``\input`` it in a document that loads ``booktabs`` (and ``longtable`` beyond 40 rows).

    Columns ``x``, ``x_low`` and ``x_high`` become one: ``0.71 [0.66, 0.75]``. Numbers of a column have equally many decimals,
    enough for three digits of its largest and, up to four, for two of its smallest; those that would be zeros have a power of
    ten. NULL is a dash. The description is the caption, and comments at the top.
    """
    columns = [_column(rows, name, ends) for name, ends in _columns(rows.columns)]
    lines = [" & ".join(cells) + r" \\" for cells in zip(*(cells for _, _, cells in columns))]
    heads = " & ".join(head for head, _, _ in columns) + r" \\"
    places = "".join(place for _, place, _ in columns)
    caption = rf"\caption{{{_caption(about)}}}\label{{tab:{file_stem(about.title)}}}"
    table = _long if len(lines) > LONGEST_TABLE else _short
    return "\n".join([*_comments(about, len(lines)), *table(places, caption, heads, lines), ""]).encode()


def _comments(about: About, n: int) -> list[str]:
    packages = r"\usepackage[T1]{fontenc} \usepackage{booktabs}" + r" \usepackage{longtable}" * (n > LONGEST_TABLE)
    told = [f"{name}: {line}" for name, text in about.fields().items() for line in text.splitlines()]
    return [f"% {line}" for line in (f"needs: {packages}", *told)]


def _caption(about: About) -> str:
    title = about.title if about.title.endswith((".", "?", "!")) else f"{about.title}."
    return prose(f"{title} {about.caption} n: {about.n}.")


def _short(places: str, caption: str, heads: str, lines: Sequence[str]) -> list[str]:
    begin, end = rf"\begin{{tabular}}{{{places}}}", r"\end{tabular}"
    inner = [r"\toprule", heads, r"\midrule", *lines, r"\bottomrule"]
    return [r"\begin{table}", r"\centering", caption, begin, *inner, end, r"\end{table}"]


def _long(places: str, caption: str, heads: str, lines: Sequence[str]) -> list[str]:
    top = [caption + r" \\", r"\toprule", heads, r"\midrule", r"\endfirsthead"]
    again = [r"\toprule", heads, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"]
    return [rf"\begin{{longtable}}{{{places}}}", *top, *again, *lines, r"\end{longtable}"]


def _columns(names: Sequence[str]) -> list[tuple[str, tuple[str, str] | None]]:
    """Columns in order, each with those of its interval if both are there."""
    known = set(names)
    intervals = {name: (f"{name}_low", f"{name}_high") for name in names}
    intervals = {name: ends for name, ends in intervals.items() if known.issuperset(ends)}
    inside = {end for ends in intervals.values() for end in ends}
    return [(name, intervals.get(name)) for name in names if name not in inside]


def _column(rows: pl.DataFrame, name: str, ends: tuple[str, str] | None) -> tuple[str, str, list[str]]:
    """Heading, alignment and cells of a column."""
    values = rows[name].to_list()
    heading = latex(name.replace("_", " "))
    if ends is not None and all(rows[column].dtype.is_numeric() for column in (name, *ends)):
        low, high = (rows[column].to_list() for column in ends)
        decimals = _decimals([*values, *low, *high])
        told = (_with_interval(*cell, decimals) for cell in zip(values, low, high))
        return rf"{heading} [low, high]", "r", list(told)
    kind = rows[name].dtype
    if kind.is_float() or kind.is_decimal():
        decimals = _decimals(values)
        return heading, "r", [_number(value, decimals) for value in values]
    if kind.is_integer():
        return heading, "r", [_integer(value, name) for value in values]
    return heading, "l", [MISSING if value is None else latex(_text(value)) for value in values]


def _with_interval(value: Any, low: Any, high: Any, decimals: int) -> str:
    ends = "" if low is None and high is None else f" [{_number(low, decimals)}, {_number(high, decimals)}]"
    return _number(value, decimals) + ends


def _decimals(values: Sequence[Any]) -> int:
    """Decimals of a column, see ``latex_file``."""
    found = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0 and abs(v) < _LARGEST]
    if not found or all(v == int(v) for v in found):
        return 0
    largest, smallest = (math.floor(math.log10(v)) for v in (max(found), min(found)))
    return min(max(2 - largest, min(1 - smallest, 4), 0), _MOST_DECIMALS)


def _number(value: Any, decimals: int) -> str:
    """One number, its sign a minus; with a power of ten if it is large or would be written as zeros."""
    if value is None:
        return MISSING
    value = float(value)
    if math.isnan(value):
        return "nan"
    sign, size = "$-$" if value < 0 else "", abs(value)
    if math.isinf(size):
        return rf"{sign}$\infty$"
    if size >= _LARGEST or 0 < size < 0.5 * 10.0**-decimals:
        digits, power = f"{size:.2e}".split("e")
        return rf"{sign}${digits} \times 10^{{{int(power)}}}$"
    return f"{sign}{size:.{decimals}f}"


def _integer(value: int | None, name: str) -> str:
    """Counts have their thousands apart; numbers that name something, such as a feature, do not."""
    if value is None:
        return MISSING
    shown = f"{abs(value):,}" if name.startswith("n_") else str(abs(value))
    return f"$-${shown}" if value < 0 else shown


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join("–" if part is None else _text(part) for part in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.isoformat() if isinstance(value, date) else str(value)
