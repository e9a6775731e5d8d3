"""Sums per document: the sufficient statistics that every interval by document is made from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch


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


class DocumentSums:
    """Named float64 sums with one row a document, in a table that grows with the documents and not with the tokens."""

    def __init__(self) -> None:
        self._row_of: dict[int, int] = {}
        self._tables: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, documents: np.ndarray, sums: Mapping[str, np.ndarray]) -> None:
        """Add sums [s, ...] to the rows of distinct documents [s]; every call gives the same names."""
        rows = [self._row_of.setdefault(number, len(self._row_of)) for number in documents.tolist()]
        for name, values in sums.items():
            table = self._tables.get(name)
            if table is None or len(table) < len(self):
                # Doubling keeps the cost of growing linear in the number of documents.
                grown = np.zeros((max(2 * len(self), 16), *values.shape[1:]))
                if table is not None:
                    grown[: len(table)] = table
                self._tables[name] = table = grown
            table[rows] += values

    def arrays(self) -> dict[str, np.ndarray]:
        """Name -> [documents, ...], ordered by document number, so that the order of blocks changes no resample."""
        numbers = sorted(self._row_of)
        rows = [self._row_of[number] for number in numbers]
        return {name: table[rows] for name, table in self._tables.items()}

    def __add__(self, other: "DocumentSums") -> "DocumentSums":
        merged = DocumentSums()
        for part in (self, other):
            if len(part):
                merged.add(np.array(sorted(part._row_of)), part.arrays())
        return merged
