"""Sums over documents from which a mean Jacobian and its error follow; those of shards add up."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ato.errors import DamagedFileError, DataError, MismatchError
from ato.io.tensor_files import read_tensors, write_tensors


@dataclass(eq=False)
class JacobianSums:
    """What is known of the mean Jacobian [d_out, d_in] of one pair of layers after some documents.

    Row i of a token's Jacobian is the gradient of output coordinate i. Each token may have been asked for some of its
    rows only: row i of the mean is the sum of the rows i that were asked for over their number.
    """

    rows: np.ndarray
    """[d_out, d_in] float64: sum of all rows that were asked for."""
    count: np.ndarray
    """[d_out] int64: how many they were."""
    weighted: np.ndarray
    """[d_out, d_in] float64: sum over documents of their count times their sum, for the error."""
    squares: np.ndarray
    """[d_out] float64: sum over documents of the squared norm of their sum."""
    squared_count: np.ndarray
    """[d_out] int64: sum over documents of their squared count."""
    documents: np.ndarray
    """[d_out] int64: documents of which row i was asked for."""
    n_tokens: int = 0
    n_documents: int = 0
    seconds: float = 0.0
    """Wall time that the products took; says nothing about the result."""

    @classmethod
    def empty(cls, d_out: int, d_in: int) -> "JacobianSums":
        """Of no document."""
        matrices = (np.zeros((d_out, d_in)) for _ in range(2))
        return cls(next(matrices), _zeros(d_out), next(matrices), np.zeros(d_out), _zeros(d_out), _zeros(d_out))

    def update(self, rows: np.ndarray, count: np.ndarray, n_tokens: int) -> "JacobianSums":
        """Take one document into account, all of its tokens at once.

        Args:
            rows: [d_out, d_in], the sum of the rows that its tokens were asked for.
            count: [d_out], how many they were.
            n_tokens: its tokens.
        """
        rows, count = rows.astype(np.float64), count.astype(np.int64)
        self.rows += rows
        self.count += count
        self.weighted += count[:, None] * rows
        self.squares += (rows**2).sum(1)
        self.squared_count += count**2
        self.documents += count > 0
        self.n_tokens += n_tokens
        self.n_documents += 1
        return self

    def __add__(self, other: "JacobianSums") -> "JacobianSums":
        """Sums of the documents of both, which must be others.

        Raises:
            MismatchError: they are of other widths.
        """
        if self.rows.shape != other.rows.shape:
            shapes = f"{self.rows.shape} and {other.rows.shape}"
            raise MismatchError("Jacobians of different widths", where=shapes, cure="add those of one pair of layers")
        return JacobianSums(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def is_whole(self) -> bool:
        """Whether every row was asked for, so that there is a mean."""
        return bool((self.count > 0).all())

    def mean(self) -> np.ndarray:
        """The mean Jacobian [d_out, d_in], float64.

        Raises:
            DataError: a row was never asked for.
        """
        if not self.is_whole:
            missing = f"{int((self.count == 0).sum())} of {len(self.count)} rows were never probed"
            raise DataError(missing, where=f"{self.n_tokens} tokens", cure="raise jacobians.n_tokens or probes")
        return self.rows / self.count[:, None]

    def relative_error(self) -> float | None:
        """Standard error of the mean in the Frobenius norm, over the norm of the mean; None if it cannot be known.

        Row i is a ratio of sums over documents, S_di over c_di; its variance is that of the linearised ratio,
        ``m / (m - 1) sum_d |S_di - c_di J_i|^2 / (sum_d c_di)^2`` for m documents (Cochran, Sampling Techniques, 6.4).
        Both the choice of documents and that of rows are in it. Below two documents a row it is None.
        """
        if not self.is_whole or (self.documents < 2).any():
            return None
        mean, m = self.mean(), self.documents
        deviations = self.squares - 2 * (self.weighted * mean).sum(1) + self.squared_count * (mean**2).sum(1)
        variance = (m / (m - 1) * deviations.clip(min=0) / self.count**2).sum()
        norm = float(np.linalg.norm(mean))
        return float(np.sqrt(variance)) / norm if norm > 0 else None

    def save(self, path: str | Path) -> None:
        """Write the sums as safetensors; equal sums give equal bytes."""
        values = vars(self)
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        write_tensors(path, "Jacobian", arrays, {"numbers": {n: v for n, v in values.items() if n not in arrays}})

    @classmethod
    def load(cls, path: str | Path) -> "JacobianSums":
        """The sums that ``save`` wrote.

        Raises:
            InputError: there is no such file.
            DamagedFileError: it is truncated, altered or holds something else.
        """
        arrays, metadata = read_tensors(path, "Jacobian")
        try:
            values: dict[str, Any] = {**arrays, **metadata["numbers"]}
            return cls(**values)
        except (KeyError, TypeError):
            raise DamagedFileError("the file of sums is incomplete", where=path, cure="measure it again") from None


def relative_change(new: np.ndarray, old: np.ndarray) -> float:
    """|new - old| / |new| in the Frobenius norm; 0 where both are 0."""
    norm = float(np.linalg.norm(new))
    return float(np.linalg.norm(new - old)) / norm if norm > 0 else 0.0


def _zeros(n: int) -> np.ndarray:
    return np.zeros(n, dtype=np.int64)
