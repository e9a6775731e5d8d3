"""The groups of tokens that statistics are kept for, and the shares of the train documents that can be asked for.

The train documents have a fixed order: fold f covers the shares [f / F, (f + 1) / F) of it, and within a fold documents
are ordered by a hash of their number. A cut at a share splits the fold it falls into; every other fold stays whole, so
statistics grow by the divided folds only, and each share contains all smaller ones.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ato.errors import InputError, SettingsError
from ato.numerics.counter_rng import uniforms
from ato.numerics.validation import validate_group_numbers
from ato.text.splits import group_names

ON_BOUNDARY = 1e-9
"""Cuts closer than this to the boundary of a fold, in folds, divide nothing."""


class TokenGroups:
    """Names and numbers of the groups: the train folds or their parts, then ``val`` and ``test``.

    Args:
        n_folds: number of train folds.
        cuts: shares of the train documents in (0, 1] at which folds are divided.

    Raises:
        SettingsError: fewer than one fold, or a cut that is no share.
    """

    def __init__(self, n_folds: int, cuts: Sequence[float] = ()):
        if n_folds < 1:
            raise SettingsError("moments need at least one train fold", where=f"n_folds={n_folds}")
        if any(not 0 < cut <= 1 for cut in cuts):
            raise SettingsError("cuts must be shares of the train documents, above 0 and at most 1", where=list(cuts))
        self.n_folds = n_folds
        self.cuts = tuple(sorted({float(cut) for cut in cuts} - {1.0}))
        self._inner: list[list[float]] = [[] for _ in range(n_folds)]  # cuts within each fold, in [0, 1)
        for cut in self.cuts:
            fold, inner = self._place(cut)
            if inner:
                self._inner[fold].append(inner)
        *folds, val, test = group_names(n_folds)
        self._parts = {
            fold: [f"{fold}.{part}" for part in range(len(inner) + 1)] if inner else [fold]
            for fold, inner in zip(folds, self._inner, strict=True)
        } | {val: [val], test: [test]}
        self.names = tuple(name for parts in self._parts.values() for name in parts)
        self._number = {name: number for number, name in enumerate(self.names)}
        # number of the first group of each fold, val and test
        self._first = np.array([self._number[parts[0]] for parts in self._parts.values()])

    def __len__(self) -> int:
        return len(self.names)

    def codes(self, groups: str | Iterable[str]) -> list[int]:
        """Numbers of the named groups, ascending; a fold stands for all its parts.

        Raises:
            SettingsError: there is no such group.
        """
        names = [groups] if isinstance(groups, str) else list(groups)
        if unknown := [name for name in names if name not in self._parts and name not in self._number]:
            raise SettingsError(f"unknown groups {unknown}", cure=f"choose from {list(self.names)}")
        return sorted({self._number[part] for name in names for part in self._parts.get(name, [name])})

    def train_share(self, fraction: float) -> tuple[str, ...]:
        """Names of the groups that hold the first share of the train documents; larger shares contain smaller ones.

        Raises:
            SettingsError: the share is neither a cut nor 1.
        """
        if fraction != 1 and fraction not in self.cuts:
            raise SettingsError(
                f"no moments for the share {fraction} of the train documents",
                where=f"cuts {list(self.cuts)}",
                cure="collect moments with this cut",
            )
        fold, inner = self._place(fraction)
        whole = [name for parts in list(self._parts.values())[:fold] for name in parts]
        last = self._parts[f"train-{fold}"][: self._inner[fold].index(inner) + 1] if inner else []
        return (*whole, *last)

    def of_rows(
        self,
        n: int,
        *,
        group: np.ndarray | None = None,
        fold: np.ndarray | int | None = None,
        document: np.ndarray | int | None = None,
    ) -> np.ndarray:
        """Numbers [n] of the groups of rows.

        Args:
            n: number of rows.
            group: [n] indices into ``group_names(n_folds)``.
            fold: instead of groups, [n] numbers of train folds, or one for all rows.
            document: [n] document numbers, or one; needed where a fold is divided.

        Raises:
            InputError: numbers that do not fit, or no documents for rows of a divided fold.
        """
        if fold is None:
            codes = validate_group_numbers(group, n, self.n_folds + 2)
        else:
            codes = validate_group_numbers(fold, n, self.n_folds)
        numbers = self._first[codes]
        if divided := [number for number in np.unique(codes) if number < self.n_folds and self._inner[number]]:
            if document is None or np.shape(document) not in ((), (n,)):
                cure = "pass document=, the number of each row's document"
                raise InputError(
                    "document numbers are required for a subdivided fold", where=f"cuts {self.cuts}", cure=cure
                )
            place = document_place(np.broadcast_to(np.asarray(document), (n,)))
            for number in divided:
                rows = codes == number
                numbers[rows] += np.searchsorted(self._inner[number], place[rows], side="right")
        return numbers

    def _place(self, share: float) -> tuple[int, float]:
        """Fold that a share ends in and the share of that fold; 0 at the boundary before the fold."""
        nearest = round(share * self.n_folds)
        if abs(share * self.n_folds - nearest) < ON_BOUNDARY:
            return nearest, 0.0
        fold = int(share * self.n_folds)
        return fold, share * self.n_folds - fold


def document_place(document: np.ndarray) -> np.ndarray:
    """Place [n] in [0, 1) of documents in the order within their fold, scrambled from their numbers."""
    return uniforms(np.asarray(document).astype(np.int64))
