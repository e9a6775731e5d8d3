"""What is special to one architecture of sparse autoencoders, and how it is registered."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from torch import Tensor

ENCODER_AND_DECODER = ("W_enc", "b_enc", "W_dec", "b_dec")
"""Weights of every ``SparseAutoencoder``, see there."""


class Architecture(ABC):
    """How features become active, and how the weights stand in a file.

    A module of this package holds one subclass, decorated with ``register``; everything that lists architectures
    derives from the registry. The *common form* is that of ``SparseAutoencoder``: ``W_enc``, ``b_enc``, ``W_dec``,
    ``b_dec`` and, where there is one, ``threshold``.
    """

    name: ClassVar[str]
    """As settings, tables and sae-lens' configurations have it."""
    has_threshold: ClassVar[bool] = False
    """Whether its SAEs need ``threshold`` [d_sae]."""
    has_k: ClassVar[bool] = False
    """Whether its SAEs need ``k``, the most features active per token."""
    file_keys: ClassVar[tuple[str, ...]] = ENCODER_AND_DECODER
    """Weights that a file of sae-lens has."""
    file_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that a written configuration has beside those of every architecture."""
    old_activation: ClassVar[str | None] = None
    """Activation function by which configurations of sae-lens before version 6 name it."""

    @abstractmethod
    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        """Activations [n, d_sae] from pre-activations [n, d_sae], which may be overwritten."""

    def active(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """The positive entries of ``gate``: their tokens [m], ascending, features [m] and values [m]."""
        activations = self.gate(pre, threshold, k)
        token, feature = (activations > 0).nonzero(as_tuple=True)
        return token, feature, activations[token, feature]

    def fold(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The common form of a file's weights, which hold all ``file_keys``."""
        return {name: weights[name] for name in self.file_keys}

    def unfold(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A file's weights from the common form: ``fold`` gives the same function back."""
        return {name: weights[name] for name in self.file_keys}

    def settings_of_old(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Today's settings of a configuration before version 6 whose activation function is ``old_activation``."""
        return {"architecture": self.name}


_Kind = TypeVar("_Kind", bound=type[Architecture])
REGISTERED: dict[str, Architecture] = {}
"""By name; filled by ``register``."""


def register(kind: _Kind) -> _Kind:
    """Class decorator: make an architecture known under its name."""
    if kind.name in REGISTERED:
        raise ValueError(f"architecture {kind.name} is registered twice")
    REGISTERED[kind.name] = kind()
    return kind


def relu_above(pre: Tensor, threshold: Tensor | None) -> Tensor:
    """``relu(pre)`` where ``pre > threshold``, 0 elsewhere."""
    assert threshold is not None  # SparseAutoencoder checks it
    # Multiplying by the mask, not masked_fill: one pass, and NaN stays visible.
    return pre.relu() * (pre > threshold)
