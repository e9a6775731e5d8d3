"""Which passes run together: rows of different lengths, padded to the longest of their stack."""

import numpy as np

_PASS = 64
"""Tokens that a further pass is worth: narrower matrix products, and what a pass costs whatever its size."""


def stacks(n_tokens: np.ndarray, at_most: int) -> list[np.ndarray]:
    """Indices of the rows of each stack, such that padding and passes cost least together.

    Rows are stacked in order of their lengths: of all ways to cut that order the cheapest is found by dynamic
    programming, a stack of b rows costing b times its longest row, and ``_PASS`` tokens.

    Args:
        n_tokens: [n] int64, tokens of each row.
        at_most: tokens of a stack, padding included; a longer row is a stack of its own.
    """
    order = np.argsort(-n_tokens, kind="stable")
    length = n_tokens[order]
    cost, cut = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):
        start = np.arange(end)
        padded = (end - start) * length[:end]
        total = cost[:end] + padded + _PASS
        allowed = (padded <= at_most) | (start == end - 1)
        cut[end] = np.where(allowed, total, np.inf).argmin()
        cost[end] = total[cut[end]]
    found, end = [], len(order)
    while end:
        found.append(order[cut[end] : end])
        end = int(cut[end])
    return found[::-1]
