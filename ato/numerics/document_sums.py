"""Sums per document: the sufficient statistics that every interval by document is made from."""

from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch

from ato.errors import DataError
from ato.numerics.sums import Sums, arrays_of, map_arrays


@dataclass(frozen=True)
class Segments:
    """Rows of a block brought into runs of one document each."""

    documents: np.ndarray
    """[s] int64, the distinct documents, ascending if the rows had to be sorted."""
    lengths: list[int]
    """Rows of each document."""
    order: np.ndarray | None
    """[n] permutation that brings the rows together; None where they already are."""

    @classmethod
    def of(cls, document: np.ndarray) -> "Segments":
        """Segments of rows with document numbers [n]; rows are sorted only if a document is scattered."""
        document = np.asarray(document)
        order = None
        starts = _run_starts(document)
        if len(starts) > len(np.unique(document[starts])):
            order = np.argsort(document, kind="stable")
            document = document[order]
            starts = _run_starts(document)
        return cls(document[starts].astype(np.int64), np.diff(starts, append=len(document)).tolist(), order)

    def arrange(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows [n, ...] in the order of the segments."""
        return rows if self.order is None else rows[torch.from_numpy(self.order).to(rows.device)]

    def sums(self, rows: torch.Tensor) -> np.ndarray:
        """Sum of arranged rows [n, ...] per document: [s, ...] float64."""
        if rows.device.type == "cpu":
            # Many short sums: NumPy makes each in place, where torch would wake its threads for each.
            bounds = np.cumsum(self.lengths)[:-1]
            return np.stack([part.sum(0) for part in np.split(rows.numpy(), bounds)]).astype(np.float64)
        return torch.stack([part.sum(0) for part in rows.split(self.lengths)]).cpu().double().numpy()


def _run_starts(document: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(True, document[1:] != document[:-1])) if len(document) else np.zeros(0, dtype=int)


class DocumentSums(Generic[Sums]):
    """Accumulates float64 sums with one row a document: memory grows with the documents and not with the tokens.

    The sums are of one type, see ``ato.numerics.sums``.
    """

    def __init__(self) -> None:
        self._row_of: dict[int, int] = {}
        self._tables: Sums | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, documents: np.ndarray, sums: Sums) -> None:
        """Add sums [s, ...] to the rows of distinct documents [s]; every call gives the same type."""
        rows = [self._row_of.setdefault(number, len(self._row_of)) for number in documents.tolist()]
        if self._tables is None:
            self._tables = map_arrays(lambda values: np.zeros((self._capacity, *values.shape[1:])), sums)
        elif len(next(arrays_of(self._tables))) < len(self):
            self._tables = map_arrays(self._grown, self._tables)
        for table, values in zip(arrays_of(self._tables), arrays_of(sums), strict=True):
            table[rows] += values

    @property
    def _capacity(self) -> int:
        """Rows of a new table: doubling keeps the cost of growing linear in the number of documents."""
        return max(2 * len(self), 16)

    def _grown(self, table: np.ndarray) -> np.ndarray:
        grown = np.zeros((self._capacity, *table.shape[1:]))
        grown[: len(table)] = table
        return grown

    def sums(self) -> Sums:
        """The sums [documents, ...], ordered by document number, so that the order of blocks changes nothing.

        Raises:
            DataError: no document was added.
        """
        if self._tables is None:
            raise DataError("no document was seen", cure="choose a split that is not empty")
        rows = [self._row_of[number] for number in sorted(self._row_of)]
        return map_arrays(lambda table: table[rows], self._tables)

    def __add__(self, other: "DocumentSums[Sums]") -> "DocumentSums[Sums]":
        merged: DocumentSums[Sums] = DocumentSums()
        for part in (self, other):
            if len(part):
                merged.add(np.array(sorted(part._row_of)), part.sums())
        return merged
