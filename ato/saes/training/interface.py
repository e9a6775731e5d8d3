"""What the training of any architecture starts from, and what its trainer does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


class Run(Protocol):
    """One training within a pass over batches that several share."""

    log: list[dict[str, Any]]
    """Rows of the table ``sae_training`` so far."""

    @property
    def over(self) -> bool:
        """Whether it takes no more steps."""
        ...

    def step(self, batch: Tensor, log_every: int) -> dict[str, Any] | None:
        """Take a step; the row of the log, where one is due."""
        ...

    def sae(self, metadata: Mapping[str, Any]) -> Any:
        """What is trained, on raw inputs, as it is now."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on."""
        ...

    def restore(self, state: Mapping[str, Tensor], log: list[dict[str, Any]]) -> None:
        """Go on where ``state`` was taken."""
        ...


class Inputs(Protocol):
    """Batches that the trainings of a pass share."""

    batch_size: int

    def batches(self, after: int = 0) -> Iterator[Tensor]:
        """Normalised batches without end, those of so many steps left out."""
        ...
