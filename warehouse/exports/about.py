"""What a file for a paper says about itself: caption, sample sizes, statement, collection and day."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from ato.text.display import visible

CREATOR = "ATO platform"


@dataclass(frozen=True)
class About:
    """The description that every exported figure and table carries."""

    title: str
    caption: str
    """How to read it: axes, units, intervals; plain text."""
    n: str
    """Sample sizes."""
    sql: str
    """The statement whose rows it shows, which runs unchanged in ``ato sql``; where there is none, the command that prints them."""
    collection: str
    """Key of the collection; empty if it is of none."""
    day: date
    """When it was exported, in UTC."""

    def fields(self) -> dict[str, str]:
        """All of it as texts by name, the same in every format; control characters are shown as their pictures."""
        found = {
            "title": self.title,
            "caption": self.caption,
            "n": self.n,
            "statement": self.sql,
            "collection": self.collection,
            "date": self.day.isoformat(),
            "creator": CREATOR,
        }
        return {name: visible(text, keep="\n\t") for name, text in found.items()}


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def sizes(rows: pl.DataFrame) -> str:
    """Rows, and the extent of each column of counts: its name begins with ``n_``.

    >>> sizes(pl.DataFrame({"leap": [1, 2], "n_tokens": [900, 1200]}))
    '2 rows; n_tokens 900 to 1,200'
    """
    parts = [f"{rows.height:,} row{'s' * (rows.height != 1)}"]
    for name, kind in rows.schema.items():
        if name.startswith("n_") and kind.is_integer() and rows[name].count():
            low, high = (f"{end:,}" for end in rows.select(pl.min(name), pl.max(name).alias("largest")).row(0))
            parts.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return "; ".join(parts)


def file_stem(title: str) -> str:
    """A file's name without its ending, of small letters, digits and dashes.

    >>> file_stem("Per-feature r² by depth (Fig. 2)")
    'per-feature-r2-by-depth-fig-2'
    """
    plain = title.lower().translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "export"
