"""In which windows of the text each feature is ablated: about its strongest activations, in many documents."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Firings:
    """Where the candidates of one SAE are active in the text: arrays [m], ordered by (slot, row, position)."""

    slot: np.ndarray
    """Index of the feature among the candidates."""
    row: np.ndarray
    """Index of the sequence."""
    position: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Window:
    """One feature ablated in one sequence, at every position of a window where it is active."""

    slot: int
    row: int
    end: int
    """Position behind the window, up to which predictions count."""
    positions: np.ndarray
    """[e] edited positions, ascending."""
    values: np.ndarray
    """[e] activations there."""

    @property
    def n_predicted(self) -> int:
        """Tokens of the window that are predicted at or behind the first edited position."""
        return self.end - 1 - int(self.positions[0])


def joined(parts: Sequence[Firings]) -> Firings:
    """All firings, ordered by (slot, row, position)."""
    columns = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    columns += [(part.slot, part.row, part.position, part.value) for part in parts]
    slots, rows, positions, values = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((positions, rows, slots))
    return Firings(slots[order], rows[order], positions[order], values[order])


def choose_windows(
    firings: Firings, token_ids: list[np.ndarray], document: np.ndarray, n_sequences: int, n_tokens: int
) -> list[Window]:
    """The windows of every candidate: its strongest sequences, those of documents not yet chosen first."""
    if not len(firings.slot):
        return []
    starts = np.flatnonzero(
        np.append(True, (np.diff(firings.slot) != 0) | (np.diff(firings.row) != 0))
    )  # one run a (candidate, sequence)
    ends = np.append(starts[1:], len(firings.slot))
    slot, row, strongest = firings.slot[starts], firings.row[starts], np.maximum.reduceat(firings.value, starts)
    turn = _number_in_run(
        np.lexsort((row, -strongest, document[row], slot)), slot * len(document) + document_codes(document)[row]
    )
    rank = _number_in_run(np.lexsort((row, -strongest, turn, slot)), slot)
    windows = []
    for run in np.flatnonzero(rank < n_sequences):
        inside = slice(starts[run], ends[run])
        peak = int(firings.position[inside][firings.value[inside].argmax()])
        length = len(token_ids[row[run]])
        start = max(0, min(peak - (n_tokens - 1) // 2, length - n_tokens))
        end = min(length, start + n_tokens)
        positions, values = firings.position[inside], firings.value[inside]
        kept = (positions >= start) & (positions < end - 1)  # from the last one nothing in the window is predicted
        windows.append(Window(int(slot[run]), int(row[run]), end, positions[kept], values[kept]))
    return windows


def document_codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _number_in_run(order: np.ndarray, group: np.ndarray) -> np.ndarray:
    """For rows put in an order in which groups are runs: the number [n] of each row within its group, from 0."""
    sorted_group = group[order]
    first = np.flatnonzero(np.append(True, np.diff(sorted_group) != 0))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return number
