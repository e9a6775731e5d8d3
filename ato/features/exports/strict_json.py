"""JSON as every reader takes it: UTF-8, without NaN, infinities and halves of surrogate pairs."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = 6
"""Significant digits of activations and logits, which are float32 or less."""


def json_bytes(content: Any) -> bytes:
    """Compact UTF-8 JSON; numbers that are not finite are null, what UTF-8 cannot hold is ``?``.

    Args:
        content: dictionaries, lists and tuples of texts, numbers, None, and NumPy scalars or arrays.
    """
    try:
        text = _dumps(content)
    except (TypeError, ValueError):  # rare, and looking at every number takes as long as writing it
        text = _dumps(_plain(content))
    return text.encode("utf-8", "replace")


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Numbers at the digits that float32 holds, so that files are half as long; None where there is no finite number."""
    return [float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else None for value in values]


def _dumps(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _plain(value.tolist())
