"""Residual blocks and sources: the one abstraction that every statistic reads, stored or live."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from ato.errors import NonFiniteError
from ato.residuals.attended import Attended
from ato.residuals.position_policies import Layer

_KEYS = ("sequence_id", "position", "token_id", "document", "group")


@dataclass(frozen=True)
class ResidualBlock:
    """Residuals of n tokens at several layers, with their keys.

    Row i of every array and tensor is the same token. Blocks are the unit of streaming: nothing that reads
    them may keep more than its own statistics.
    """

    residuals: dict[Layer, torch.Tensor]
    """Layer -> [n, d_model] float32, the stream after that block; a ``SourceKey`` -> x of the tokens chosen for a pair."""
    sequence_id: np.ndarray
    """[n] int64."""
    position: np.ndarray
    """[n] int32, from 0 within the sequence."""
    token_id: np.ndarray
    """[n] int32."""
    document: np.ndarray
    """[n] int64, number of the document within its collection."""
    group: np.ndarray
    """[n] int16, index into ``group_names(n_folds)``."""
    attended: dict[int, Attended] = field(default_factory=dict)
    """Layer -> the positions that the tokens attend to most in that block, where that was asked for."""
    _norms: dict[Layer, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Cache of ``norm``, by layer."""

    @property
    def n(self) -> int:
        """Number of tokens."""
        return len(self.sequence_id)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers present, ascending."""
        return tuple(sorted(self.residuals))

    def norm(self, layer: Layer) -> torch.Tensor:
        """Euclidean norms [n] float32 of the rows of a layer, on its device; taken once, and to be left as they are."""
        if layer not in self._norms:
            self._norms[layer] = torch.linalg.vector_norm(self.residuals[layer].float(), dim=1)
        return self._norms[layer]

    def to(self, device: torch.device | str) -> "ResidualBlock":
        """The same rows with their residuals on a device."""
        if all(x.device == torch.device(device) for x in self.residuals.values()):
            return self
        return replace(self, residuals={layer: x.to(device) for layer, x in self.residuals.items()})

    @classmethod
    def join(cls, blocks: Sequence["ResidualBlock"]) -> "ResidualBlock":
        """The rows of several blocks with the same layers, in order."""
        if len(blocks) == 1:
            return blocks[0]
        residuals = {layer: torch.cat([b.residuals[layer] for b in blocks]) for layer in blocks[0].layers}
        return cls.join_keys(blocks, residuals)

    @classmethod
    def join_keys(cls, blocks: Sequence["ResidualBlock"], residuals: dict[Layer, torch.Tensor]) -> "ResidualBlock":
        """The keys of several blocks, in order, over residuals that are joined already."""
        attended = {layer: Attended.join([b.attended[layer] for b in blocks]) for layer in blocks[0].attended}
        keys: dict[str, Any] = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in _KEYS}
        return cls(residuals=residuals, attended=attended, **keys)

    def at(self, layers: Sequence[Layer]) -> "ResidualBlock":
        """The same rows at some of the layers."""
        return replace(self, residuals={layer: self.residuals[layer] for layer in layers})

    def select(self, mask: np.ndarray) -> "ResidualBlock":
        """The rows where the boolean mask [n] is true."""
        index = torch.from_numpy(np.flatnonzero(mask))
        return replace(
            self,
            residuals={layer: x[index.to(x.device)] for layer, x in self.residuals.items()},
            attended={layer: attended.select(mask) for layer, attended in self.attended.items()},
            **{name: getattr(self, name)[mask] for name in _KEYS},
        )


@runtime_checkable
class ResidualSource(Protocol):
    """Anything that yields residual blocks, in an order that is the same on every pass."""

    d_model: int
    n_folds: int

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers that may be asked for, ascending."""
        ...

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of the given layers (default all) and splits (default all of train, val, test)."""
        ...


class Consumer(Protocol):
    """Anything that takes blocks: moments, scores, writers."""

    def update(self, block: ResidualBlock) -> object:
        """Take one block into account."""
        ...


def check_finite(block: ResidualBlock) -> None:
    """Raise NonFiniteError that names layer, sequence and position of the first NaN or infinity."""
    # A norm is finite unless some entry is not, or its square overflowed: masks are made only then. Asked of all layers
    # at once, since an accelerator is waited for with each answer.
    finite = [torch.isfinite(block.norm(layer)).all() for layer in block.residuals]
    if not finite or torch.stack(finite).all():
        return
    for layer, x in block.residuals.items():
        bad = (~torch.isfinite(x)).any(dim=1).nonzero()
        if not len(bad):
            continue
        row = int(bad[0])
        raise NonFiniteError(
            f"residual is NaN or infinite at layer {layer}",
            where=f"sequence {block.sequence_id[row]}, position {block.position[row]}",
            cure="run the model in float32 (--set model.dtype=float32) or drop the sequence",
        )


def run_pass(
    source: ResidualSource,
    consumers: Sequence[Consumer],
    *,
    layers: Sequence[Layer] | None = None,
    splits: Collection[str] | None = None,
    on_block: Callable[[ResidualBlock], None] | None = None,
) -> int:
    """Feed every block of one pass to all consumers; returns the number of tokens seen.

    Raises:
        NonFiniteError: a residual is NaN or infinite; no consumer has seen that block.
    """
    rows = 0
    for block in source.blocks(layers, splits):
        check_finite(block)
        for consumer in consumers:
            consumer.update(block)
        rows += block.n
        if on_block is not None:
            on_block(block)
        del block  # the next one is made before the loop would let go of it
    return rows
