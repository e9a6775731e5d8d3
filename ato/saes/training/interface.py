"""What the training of any architecture starts from, and what its trainer does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ato.saes.training.schedule import Schedule


@dataclass(frozen=True)
class TrainingStart:
    """Where a training starts. Its inputs are normalised: residuals of mean 0 and mean norm sqrt(d_in)."""

    directions: Tensor
    """[d_sae, d_in] random decoder rows of length 1."""
    sample: Tensor
    """[m, d_in] some inputs, to choose first weights by."""
    k: int
    """Active features per token: exactly, or in the mean."""
    schedule: Schedule
    precision: torch.dtype
    """Of the matrix products; the weights are float32."""
    l1_coefficient: float | None = None
    """Of the L1 penalty, where the architecture has one; None: moved until k features are active in the mean."""
    widths: Sequence[int] | None = None
    """Features of each nested dictionary, where the architecture has them; None: the method's own."""


class TrainingStep(Protocol):
    """One batch and what became of it, before the weights were changed."""

    @property
    def sae_in(self) -> Tensor:
        """[b, d_in]."""
        ...

    @property
    def sae_out(self) -> Tensor:
        """[b, d_in]."""
        ...

    @property
    def n_active(self) -> Tensor:
        """[b] features active on each token."""
        ...


class Trainer(Protocol):
    """Changes the weights of one SAE, batch by batch."""

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool, features that are dead by the schedule."""
        ...

    def step(self, x: Tensor) -> TrainingStep:
        """Change the weights by one batch [b, d_in]."""
        ...

    def restart(self, features: Tensor, inputs: Tensor) -> None:
        """Start features [m] anew on inputs [m, d_in], see ``resampling``."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """``W_enc`` [d_in, d_sae], ``b_enc``, ``W_dec``, ``b_dec`` and, where there is one, ``threshold``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on: ``restore`` of it in a new trainer gives the same steps to the bit."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where another trainer with the same start was when ``state`` was taken."""
        ...
