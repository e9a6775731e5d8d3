"""Moments: the additive sufficient statistics of layer pairs, from which every linear question is answered."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ato.errors import DamagedFileError, DataError, LayerError, MismatchError, SettingsError
from ato.io.tensor_files import read_tensors, write_tensors
from ato.moments.group_buffers import GroupBuffers
from ato.moments.pair import PairMoments
from ato.moments.token_groups import TokenGroups
from ato.numerics.matmul import add_cross_gram, add_sum_and_gram, sum_on_host
from ato.numerics.memo import Derived
from ato.numerics.parallel import run_tasks
from ato.numerics.validation import validate_residuals
from ato.residuals.blocks import ResidualBlock

PRODUCT_ROWS, GATHERED_ROWS = 2048, 12288
"""Rows of a group that are gathered before they are multiplied, and rows that all groups may hold together."""
__all__ = ["Moments", "PairMoments"]


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
        pairs: Sequence[tuple[int, int]],
        *,
        n_folds: int = 5,
        cuts: Sequence[float] = (),
        pilot_mean: dict[int, np.ndarray] | None = None,
        precision: str = "auto",
        squares_only: Iterable[int] = (),
    ):
        if not pairs or any(source == target for source, target in pairs):
            raise SettingsError("moments need pairs of two different layers", where=list(pairs))
        if precision not in ("auto", "float32", "float64"):
            raise SettingsError(f"unknown precision {precision!r}", cure="choose auto, float32 or float64")
        self.pairs = tuple(dict.fromkeys((int(source), int(target)) for source, target in pairs))
        self.layers = tuple(sorted({layer for pair in self.pairs for layer in pair}))
        self._groups = TokenGroups(n_folds, cuts)
        self.n_folds, self.cuts, self.groups = n_folds, self._groups.cuts, self._groups.names
        self.d: dict[int, int] = {}  # widths, known from the first update on
        self._precision, self._squares_only = precision, frozenset(squares_only)
        self.epsilon = float(np.finfo(np.float64).eps)
        # Rounded to float32, so that subtracting it from float32 rows close to it is exact.
        self._pilot: dict[int, np.ndarray] = {
            layer: np.asarray(mean, np.float32).astype(np.float64) for layer, mean in (pilot_mean or {}).items()
        }
        self._kind: dict[str, Any] = {
            "n_folds": n_folds,
            "cuts": self.cuts,
            "squares_only": tuple(sorted(set(squares_only))),
        }
        self._n = np.zeros(len(self.groups), dtype=np.int64)
        # Sums about the pilot, float64, where the rows are: (layer, group) -> [d] and [d, d] (or its diagonal); pairs ->
        # [d_in, d_out].
        self._sum: dict[tuple[int, int], torch.Tensor] = {}
        self._gram: dict[tuple[int, int], torch.Tensor] = {}
        self._cross: dict[tuple[int, int, int], torch.Tensor] = {}
        capacity = min(PRODUCT_ROWS, GATHERED_ROWS // len(self.groups) + 1)
        self._buffers = GroupBuffers(capacity, self._pilot, precision, self._add_products)
        self.derived = Derived()

    def update(
        self,
        residuals: Mapping[int, np.ndarray | torch.Tensor] | ResidualBlock,
        group: np.ndarray | None = None,
        *,
        fold: np.ndarray | int | None = None,
        document: np.ndarray | int | None = None,
        rows: Mapping[int, np.ndarray] | None = None,
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
        widths = {layer: len(mean) for layer, mean in self._pilot.items()} | self.d
        residuals = validate_residuals(residuals, self.layers, widths, rows)
        picked = rows or {}
        n = len(picked.get(self.layers[0], residuals[self.layers[0]]))
        codes = self._groups.of_rows(n, group=group, fold=fold, document=document)
        if not n:
            return self
        self.d = {layer: x.shape[1] for layer, x in residuals.items()}
        self.derived.clear()
        self._buffers.add(residuals, picked, codes)
        return self

    def _add_products(self, code: int, rows: dict[int, torch.Tensor]) -> None:
        """Each task adds to statistics that no other task touches."""

        def room(parts: dict, key: tuple[int, ...], *shape: int) -> torch.Tensor:
            if key not in parts:
                parts[key] = torch.zeros(shape, dtype=torch.float64, device=rows[key[0]].device)
            return parts[key]

        first = rows[self.layers[0]]
        self._n[code] += len(first)
        self.epsilon = max(self.epsilon, torch.finfo(first.dtype).eps)
        own, cross = [], []
        for layer, x in rows.items():
            d = self.d[layer]
            gram = room(self._gram, (layer, code), *([d] if layer in self._squares_only else [d, d]))
            own.append(partial(add_sum_and_gram, x, room(self._sum, (layer, code), d), gram))
        # A task a pair would leave cores idle where there are few pairs.
        parts = -(-2 * torch.get_num_threads() // len(self.pairs)) if first.is_cpu else 1
        for source, target in self.pairs:
            x, y = rows[source], rows[target]
            both = room(self._cross, (source, target, code), self.d[source], self.d[target])
            width = -(-self.d[target] // parts)
            for columns in (slice(start, start + width) for start in range(0, self.d[target], width)):
                cross.append(partial(add_cross_gram, x, y[:, columns], both[:, columns]))
        # The longer tasks first, so that the cores finish together. An accelerator has a queue of its own.
        tasks = cross + own if parts == 1 else own + cross
        _ = run_tasks(tasks) if first.is_cpu else [task() for task in tasks]

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both sets of rows (Chan's rule; other pilot means are shifted exactly).

        Raises:
            MismatchError: the two differ in pairs, folds, cuts or widths.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        if set(self.pairs) != set(other.pairs) or self._kind != other._kind:
            raise MismatchError("moments of different pairs or folds cannot be added", cure="collect both alike")
        if self.d and other.d and self.d != other.d:
            raise MismatchError("moments of different widths cannot be added", where=f"{self.d} and {other.d}")
        self._buffers.flush()
        other._buffers.flush()
        merged = Moments(self.pairs, **self._kind, precision=self._precision)
        merged.d = self.d or other.d
        merged._pilot |= {**other._pilot, **self._pilot}
        merged._n = self._n + other._n
        merged.epsilon = max(self.epsilon, other.epsilon)
        rooms: tuple[dict, ...] = (merged._sum, merged._gram, merged._cross)
        for room, mine, theirs in zip(rooms, self._about(merged._pilot), other._about(merged._pilot)):
            for key in mine | theirs:
                if key in mine and key in theirs:
                    room[key] = mine[key] + theirs[key].to(mine[key].device)
                else:
                    room[key] = (mine if key in mine else theirs)[key].clone()
        return merged

    def _about(self, pilot: dict[int, np.ndarray]) -> tuple[dict, dict, dict]:
        """Sums, grams and crosses about another pilot: sum (z+a)(w+b)' = sum zw' + s_z b' + a s_w' + n a b'."""
        moved = {layer: self._pilot[layer] - pilot[layer] for layer in self._pilot if layer in pilot}
        if not any(np.any(shift) for shift in moved.values()):
            return self._sum, self._gram, self._cross
        shift = {key: torch.from_numpy(moved[key[0]]).to(value.device) for key, value in self._sum.items()}
        sums = {key: value + self._n[key[1]] * shift[key] for key, value in self._sum.items()}

        def about(product: torch.Tensor, x: tuple[int, int], y: tuple[int, int]) -> torch.Tensor:
            e_y, s_y = shift[y].to(product.device), sums[y].to(product.device)
            times = torch.outer if product.ndim == 2 else torch.mul  # the diagonal of that
            return product + times(self._sum[x], e_y) + times(shift[x], s_y)

        grams = {key: about(value, key, key) for key, value in self._gram.items()}
        crosses = {(s, t, g): about(value, (s, g), (t, g)) for (s, t, g), value in self._cross.items()}
        return sums, grams, crosses

    def save(self, path: str | Path) -> None:
        """Write the moments as safetensors."""
        self._buffers.flush()
        arrays: dict[str, np.ndarray] = {f"pilot/{layer}": mean for layer, mean in self._pilot.items()}
        for name, parts in (("sum", self._sum), ("gram", self._gram), ("cross", self._cross)):
            arrays |= {f"{name}/{'/'.join(map(str, key))}": value.cpu().numpy() for key, value in parts.items()}
        metadata = {"pairs": self.pairs, **self._kind, "precision": self._precision}
        write_tensors(path, "moments", arrays, {**metadata, "n": self._n.tolist(), "epsilon": self.epsilon})

    @classmethod
    def load(cls, path: str | Path, pairs: Iterable[tuple[int, int]] | None = None) -> "Moments":
        """Moments from a file written by ``save``.

        Args:
            path: the file.
            pairs: those to keep; default all of them.

        Raises:
            InputError: there is no such file.
            DamagedFileError: the file is truncated, altered or holds something else.
        """
        chosen = None if pairs is None else set(pairs)
        layers = {layer for pair in chosen or () for layer in pair}

        def wanted(name: str) -> bool:
            if chosen is None:
                return True
            part, *numbers = name.split("/")
            key = tuple(map(int, numbers))
            return key[:2] in chosen if part == "cross" else key[0] in layers

        arrays, metadata = read_tensors(path, "moments", wanted)
        try:
            stored = [(source, target) for source, target in metadata["pairs"]]
            kind = {name: metadata[name] for name in ("n_folds", "cuts", "precision")}
            kept = [pair for pair in stored if chosen is None or pair in chosen]
            moments = cls(kept, **kind, squares_only=metadata.get("squares_only", ()))
            moments._n[:] = metadata["n"]
            moments.epsilon = metadata["epsilon"]
            for name, array in arrays.items():
                part, *numbers = name.split("/")
                if part == "pilot":
                    moments._pilot[int(numbers[0])] = array
                else:
                    getattr(moments, f"_{part}")[tuple(map(int, numbers))] = torch.from_numpy(array)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise DamagedFileError("incomplete moments", where=path, cure="collect them again") from None
        if moments._n.any():
            moments.d = {layer: len(mean) for layer, mean in moments._pilot.items()}
        return moments

    @property
    def train_folds(self) -> tuple[str, ...]:
        """Names of the train folds that have rows."""
        self._buffers.flush()
        folds = (f"train-{fold}" for fold in range(self.n_folds))
        return tuple(fold for fold in folds if self._n[self._groups.codes(fold)].any())

    def train_share(self, fraction: float) -> tuple[str, ...]:
        """Names of the groups that hold this share of the train documents; SettingsError unless it is a cut or 1."""
        return self._groups.train_share(fraction)

    def scatter(self, layer: int, groups: Iterable[str]) -> tuple[int, np.ndarray, np.ndarray]:
        """n, mean [d] and centred scatter sum [d, d] of one layer over the groups.

        Raises:
            LayerError: the layer belongs to no pair, or only its squares were kept.
            SettingsError: unknown group.
            DataError: the groups have no rows.
        """
        codes, n = self._present(groups)
        offset = self._offset(layer, codes)
        if layer in self._squares_only:
            raise LayerError(f"of layer {layer} only squares were kept", cure="gather moments without squares_only")
        gram = sum_on_host(self._gram[layer, code] for code in codes)
        return n, self._pilot[layer] + offset / n, gram - np.outer(offset, offset / n)

    def variation(self, layer: int, groups: Iterable[str]) -> tuple[int, np.ndarray, np.ndarray]:
        """n, mean [d] and the diagonal [d] of ``scatter`` alone, which costs no matrix. Raises as ``scatter``."""
        codes, n = self._present(groups)
        offset = self._offset(layer, codes)
        grams = (self._gram[layer, code] for code in codes)
        squares = sum_on_host(gram if gram.ndim == 1 else gram.diagonal() for gram in grams)
        return n, self._pilot[layer] + offset / n, squares - offset**2 / n

    def cross(self, source: int, target: int, groups: Iterable[str]) -> np.ndarray:
        """Centred cross scatter sum [d_in, d_out] over the groups. Raises as ``scatter``."""
        self.check_pair(source, target)
        codes, n = self._present(groups)
        x, y = self._offset(source, codes), self._offset(target, codes)
        return sum_on_host(self._cross[source, target, code] for code in codes) - np.outer(x, y / n)

    def summary(self, source: int, target: int, groups: Iterable[str]) -> PairMoments:
        """Moments of one pair pooled over groups, such as ``("train-0", "train-1")``. Raises as ``scatter``."""
        groups = [groups] if isinstance(groups, str) else list(groups)
        sxy = self.cross(source, target, groups)
        n, mean_x, sxx = self.scatter(source, groups)
        _, mean_y, syy = self.scatter(target, groups)
        return PairMoments(n, mean_x, mean_y, sxx, sxy, syy, self.epsilon)

    def check_pair(self, source: int, target: int) -> None:
        """Raise LayerError unless these are the moments of this pair."""
        if (source, target) not in self.pairs:
            raise LayerError(f"no moments of the pair {source} -> {target}", cure=f"choose from {list(self.pairs)}")

    def _offset(self, layer: int, codes: Iterable[int]) -> np.ndarray:
        """Sum [d] of one layer's rows about the pilot."""
        if layer not in self.layers:
            raise LayerError(f"no moments of layer {layer}", cure=f"choose from {list(self.layers)}")
        return sum_on_host(self._sum[layer, code] for code in codes)

    def _present(self, groups: Iterable[str]) -> tuple[list[int], int]:
        self._buffers.flush()
        codes = [code for code in self._groups.codes(groups) if self._n[code]]
        if not codes:
            raise DataError("no rows to take moments of", where=f"groups {groups}", cure="collect more documents")
        return codes, int(self._n[codes].sum())
