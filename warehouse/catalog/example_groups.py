"""Rows of windows as the groups of excerpts that a feature's page shows."""

from collections.abc import Iterable, Sequence
from typing import Any

from ato.features.excerpts import Excerpt, Origin
from ato.features.exports.feature_page import ExampleGroup


def by_feature(found: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Feature -> its rows, in their order."""
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in found:
        grouped.setdefault(row["feature_id"], []).append(row)
    return grouped


def example_groups(windows: Sequence[dict[str, Any]]) -> tuple[ExampleGroup, ...]:
    """The windows of one feature by kind; a quantile has a group of its own, from the end of the one below it.

    Args:
        windows: with ``kind``, ``quantile``, ``tokens``, ``activations`` and the fields of an ``Origin``.
    """
    ends = [0.0, *sorted({row["quantile"] for row in windows if row["quantile"] is not None})]
    below = dict(zip(ends[1:], ends))
    grouped: dict[tuple[str, float | None], list[Excerpt]] = {}
    for row in windows:
        grouped.setdefault((row["kind"], row["quantile"]), []).append(_excerpt(row))
    return tuple(
        ExampleGroup(kind, tuple(own), None if end is None else below[end], end)
        for (kind, end), own in sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or 0.0))
    )


def _excerpt(row: dict[str, Any]) -> Excerpt:
    names = ("corpus", "document", "sequence_id", "position", "start", "split", "stratum")
    return Excerpt(tuple(row["tokens"]), tuple(row["activations"]), Origin(*(row[name] for name in names)))
