"""What is special to training one architecture, and how it is registered."""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

from ato.saes.training.interface import Trainer, TrainingStart

OPTIONS = ("l1_coefficient", "widths")
"""Settings of ``TrainingPlan`` that not every way to train has."""


class TrainingMethod(ABC):
    """How an architecture is trained.

    A module of this package holds one subclass, decorated with ``register``. What a step costs is declared for estimates
    of time; the defaults are those of a dense trainer.
    """

    name: ClassVar[str]
    """As settings have it."""
    architecture: ClassVar[str]
    """One of ``ato.saes.ARCHITECTURES``: what the trained SAE is. BatchTopK SAEs, say, become JumpReLU ones."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Settings of ``TrainingPlan`` that it has and others have not: of ``OPTIONS``."""
    calibrated: ClassVar[bool] = False
    """Whether the trained SAE's thresholds are brought to a mean L0 of k, see ``ato.saes.training.calibration``."""
    dense_products: ClassVar[int] = 6
    """Products of a training step that cost as much as the dense encoder."""
    dense_passes: ClassVar[int] = 8
    """Times that a step reads and writes numbers for all [tokens, d_sae]."""
    decoder_gathers: ClassVar[int] = 0
    """Times that a step reads the decoder rows of the k active features of each token."""

    @abstractmethod
    def trainer(self, start: TrainingStart) -> Trainer:
        """A trainer with the first weights."""


class SparseMethod(TrainingMethod):
    """Trained by ``SparseTrainer``: only the encoder is dense, active features are gathered once forwards and three times backwards."""

    dense_products, dense_passes, decoder_gathers = 1, 4, 4


_Kind = TypeVar("_Kind", bound=type[TrainingMethod])
REGISTERED: dict[str, TrainingMethod] = {}
"""By name; filled by ``register``."""


def register(kind: _Kind) -> _Kind:
    """Class decorator: make a way to train known under its name."""
    if kind.name in REGISTERED:
        raise ValueError(f"training of {kind.name} is registered twice")
    REGISTERED[kind.name] = kind()
    return kind
