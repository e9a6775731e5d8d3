"""Moments: the additive sufficient statistics of layer pairs, from which every linear question is answered."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ato.errors import DataError, LayerError, MismatchError, SettingsError
from ato.moments.files import StoredMoments, read_moments, write_moments
from ato.moments.group_buffers import GroupBuffers
from ato.moments.pair import PairMoments
from ato.moments.sums import MomentSums
from ato.moments.token_groups import TokenGroups
from ato.numerics.matmul import sum_on_host
from ato.numerics.validation import validate_residuals
from ato.residuals.blocks import ResidualBlock
from ato.residuals.position_policies import Layer

PRODUCT_ROWS, GATHERED_ROWS = 2048, 12288
"""Rows of a group that are gathered before they are multiplied, and rows that all groups may hold together."""


class Moments:
    """Counts, sums and scatter matrices of chosen layer pairs for every token group, streamed and mergeable.

    Rows have a fixed pilot mean subtracted, are multiplied in float32 (in float64 when they are float64, or narrow)
    and summed in float64; uncentred float32 products of residual streams lose every digit (pairwise merging:
    Chan, Golub and LeVeque 1983). Each layer's own product is made once, whatever the number of pairs.

    Args:
        pairs: (source layer, target layer); the two differ.
        n_folds: number of train folds; the groups are ``group_names(n_folds)``.
        cuts: shares of the train documents that ``train_share`` can be asked for. A fold that one falls into is kept in
            parts, ``train-0.0`` and on; its own name still stands for all of it.
        pilot_mean: layer -> [d], offset to subtract before products; default the mean of the first rows seen.
        precision: "float32" or "float64" products, or "auto" as described above.
        squares_only: layers of whose own products the diagonal is enough, as of targets that nobody whitens.

    Raises:
        SettingsError: no pair, a pair of one layer with itself, fewer than one fold, a cut that is no share or an
            unknown precision.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Layer, int]],
        *,
        n_folds: int = 5,
        cuts: Sequence[float] = (),
        pilot_mean: Mapping[Layer, np.ndarray] | None = None,
        precision: str = "auto",
        squares_only: Iterable[Layer] = (),
    ):
        if not pairs or any(source == target for source, target in pairs):
            raise SettingsError("source and target layer of a pair must differ", where=list(pairs))
        if precision not in ("auto", "float32", "float64"):
            raise SettingsError(f"unknown precision {precision!r}", cure="choose auto, float32 or float64")
        self.pairs = tuple(dict.fromkeys(pairs))
        self.layers = tuple(sorted({layer for pair in self.pairs for layer in pair}))
        self._groups = TokenGroups(n_folds, cuts)
        self.n_folds, self.cuts, self.groups = n_folds, self._groups.cuts, self._groups.names
        self.d: dict[Layer, int] = {}  # widths, known from the first update on
        self.version = 0
        """Grows with every update: what was derived from the moments is then out of date, see ``Memo``."""
        self._precision = precision
        # Rounded to float32, so that subtracting it from float32 rows close to it is exact.
        pilot = {layer: np.asarray(mean, np.float32).astype(np.float64) for layer, mean in (pilot_mean or {}).items()}
        self._hold(MomentSums.empty(self.pairs, squares_only, len(self.groups), pilot))

    def _hold(self, sums: MomentSums) -> None:
        capacity = min(PRODUCT_ROWS, GATHERED_ROWS // len(self.groups) + 1)
        self._sums = sums
        self._buffers = GroupBuffers(capacity, sums.pilot, self._precision, sums.add)

    @property
    def epsilon(self) -> float:
        """Relative rounding of the products made so far: that of float32 or of float64."""
        return self._sums.epsilon

    def update(
        self,
        residuals: Mapping[Layer, np.ndarray | torch.Tensor] | ResidualBlock,
        group: np.ndarray | None = None,
        *,
        fold: np.ndarray | int | None = None,
        document: np.ndarray | int | None = None,
        rows: Mapping[Layer, np.ndarray] | None = None,
    ) -> "Moments":
        """Take rows into account.

        Args:
            residuals: layer -> [n, d] tensor or array, or a block (which brings its groups and documents).
            group: [n] indices into ``group_names(n_folds)``.
            fold: instead of groups, [n] numbers of train folds, or one for all rows.
            document: [n] document numbers, or one; needed where a cut divides a fold.
            rows: layer -> [n] which of the layer's residuals [m, d] the n rows are, each in any order; default all of
                them. They are gathered on the way to their products, without a copy in between.

        Raises:
            LayerError: a layer of the pairs is missing.
            InputError: shapes or group numbers do not fit, or documents are missing.
            NonFiniteError: a residual is NaN or infinite; the rows are not counted.
        """
        if isinstance(residuals, ResidualBlock):
            group = residuals.group if group is None and fold is None else group
            document = residuals.document if document is None else document
            residuals = residuals.residuals
        widths = {layer: len(mean) for layer, mean in self._sums.pilot.items()} | self.d
        residuals = validate_residuals(residuals, self.layers, widths, rows)
        picked = rows or {}
        n = len(picked.get(self.layers[0], residuals[self.layers[0]]))
        codes = self._groups.of_rows(n, group=group, fold=fold, document=document)
        if not n:
            return self
        self.d = {layer: x.shape[1] for layer, x in residuals.items()}
        self.version += 1
        self._buffers.add(residuals, picked, codes)
        return self

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both sets of rows (Chan's rule; other pilot means are shifted exactly).

        Raises:
            MismatchError: the two differ in pairs, folds, cuts or widths.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        if set(self.pairs) != set(other.pairs) or self._kind != other._kind:
            raise MismatchError(
                "moments of different pairs or folds cannot be added", cure="collect both with the same settings"
            )
        if self.d and other.d and self.d != other.d:
            raise MismatchError("moments of different widths cannot be added", where=f"{self.d} and {other.d}")
        self._buffers.flush()
        other._buffers.flush()
        return Moments._of(StoredMoments(self._sums + other._sums, self.n_folds, self.cuts, self._precision))

    @property
    def _kind(self) -> tuple[object, ...]:
        """What two moments must share to be added, beside their pairs."""
        return self.n_folds, self.cuts, self._sums.squares_only

    @classmethod
    def _of(cls, stored: StoredMoments) -> "Moments":
        moments = cls(stored.sums.pairs, n_folds=stored.n_folds, cuts=stored.cuts, precision=stored.precision)
        moments._hold(stored.sums)
        if stored.sums.n.any():
            moments.d = {layer: len(mean) for layer, mean in stored.sums.pilot.items()}
        return moments

    def save(self, path: str | Path) -> None:
        """Write the moments as safetensors."""
        self._buffers.flush()
        write_moments(path, StoredMoments(self._sums, self.n_folds, self.cuts, self._precision))

    @classmethod
    def load(cls, path: str | Path, pairs: Iterable[tuple[Layer, int]] | None = None) -> "Moments":
        """Moments from a file written by ``save``.

        Args:
            path: the file.
            pairs: those to keep; default all of them.

        Raises:
            InputError: there is no such file.
            DamagedFileError: the file is truncated, altered or holds something else.
        """
        return cls._of(read_moments(path, None if pairs is None else set(pairs)))

    @property
    def train_folds(self) -> tuple[str, ...]:
        """Names of the train folds that have rows."""
        self._buffers.flush()
        folds = (f"train-{fold}" for fold in range(self.n_folds))
        return tuple(fold for fold in folds if self._sums.n[self._groups.codes(fold)].any())

    def train_share(self, fraction: float) -> tuple[str, ...]:
        """Names of the groups that hold this share of the train documents; SettingsError unless it is a cut or 1."""
        return self._groups.train_share(fraction)

    def scatter(self, layer: Layer, groups: Iterable[str]) -> tuple[int, np.ndarray, np.ndarray]:
        """n, mean [d] and centred scatter sum [d, d] of one layer over the groups.

        Raises:
            LayerError: the layer belongs to no pair, or only its squares were kept.
            SettingsError: unknown group.
            DataError: the groups have no rows.
        """
        codes, n = self._present(groups)
        offset = self._offset(layer, codes)
        if layer in self._sums.squares_only:
            raise LayerError(f"layer {layer} holds squares only", cure="collect moments without squares_only")
        gram = sum_on_host(self._sums.grams[layer, code] for code in codes)
        return n, self._sums.pilot[layer] + offset / n, gram - np.outer(offset, offset / n)

    def variation(self, layer: Layer, groups: Iterable[str]) -> tuple[int, np.ndarray, np.ndarray]:
        """n, mean [d] and the diagonal [d] of ``scatter`` alone, which costs no matrix. Raises as ``scatter``."""
        codes, n = self._present(groups)
        offset = self._offset(layer, codes)
        grams = (self._sums.grams[layer, code] for code in codes)
        squares = sum_on_host(gram if gram.ndim == 1 else gram.diagonal() for gram in grams)
        return n, self._sums.pilot[layer] + offset / n, squares - offset**2 / n

    def cross(self, source: Layer, target: int, groups: Iterable[str]) -> np.ndarray:
        """Centred cross scatter sum [d_in, d_out] over the groups. Raises as ``scatter``."""
        self.check_pair(source, target)
        codes, n = self._present(groups)
        x, y = self._offset(source, codes), self._offset(target, codes)
        return sum_on_host(self._sums.crosses[source, target, code] for code in codes) - np.outer(x, y / n)

    def summary(self, source: Layer, target: int, groups: Iterable[str]) -> PairMoments:
        """Moments of one pair pooled over groups, such as ``("train-0", "train-1")``. Raises as ``scatter``."""
        groups = [groups] if isinstance(groups, str) else list(groups)
        sxy = self.cross(source, target, groups)
        n, mean_x, sxx = self.scatter(source, groups)
        _, mean_y, syy = self.scatter(target, groups)
        return PairMoments(n, mean_x, mean_y, sxx, sxy, syy, self.epsilon)

    def check_pair(self, source: Layer, target: int) -> None:
        """Raise LayerError unless these are the moments of this pair."""
        if (source, target) not in self.pairs:
            pairs = ", ".join(f"{source} -> {target}" for source, target in self.pairs)
            raise LayerError(f"no moments of the pair {source} -> {target}", cure=f"choose from {pairs}")

    def _offset(self, layer: Layer, codes: Iterable[int]) -> np.ndarray:
        """Sum [d] of one layer's rows about the pilot."""
        if layer not in self.layers:
            raise LayerError(f"no moments of layer {layer}", cure=f"choose from {', '.join(map(str, self.layers))}")
        return sum_on_host(self._sums.sums[layer, code] for code in codes)

    def _present(self, groups: Iterable[str]) -> tuple[list[int], int]:
        self._buffers.flush()
        codes = [code for code in self._groups.codes(groups) if self._sums.n[code]]
        if not codes:
            raise DataError("no rows for moments", where=f"groups {groups}", cure="collect more documents")
        return codes, int(self._sums.n[codes].sum())
