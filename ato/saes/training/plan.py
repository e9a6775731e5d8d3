"""What is to be trained: the settings of one SAE, and what its training gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ato.errors import SettingsError
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.methods import TRAINABLE, TrainingMethod
from ato.saes.training.methods.method import OPTIONS
from ato.saes.training.schedule import LRDecay, Schedule

RATE_OF_DEAD = 0.001
"""Activation rate below which a feature is resampled, unless another one is set."""

LogRow = dict[str, Any]
"""A row of the table ``sae_training`` without its keys ``collection`` and ``sae``."""


@dataclass(frozen=True)
class TrainedSAE:
    """A trained SAE and the log of its training."""

    sae: SparseAutoencoder
    """Takes raw residuals; decoder rows have length 1, so that activations are in units of the residual stream."""
    log: list[LogRow]
    """Rows of the table ``sae_training`` without its keys ``collection`` and ``sae``."""
    n_tokens: int
    """Tokens trained on, repeats included."""
    n_epochs: float
    """Passes over the train split; NaN if it did not fit in the shuffle buffer and was not read to its end."""


@dataclass(frozen=True)
class TrainingPlan:
    """One SAE to train.

    Raises:
        SettingsError: settings that contradict each other, or that the architecture has not.
    """

    architecture: str = "topk"
    """One of ``ato.saes.training.methods.TRAINABLE``."""
    d_sae: int = 2048
    """Number of features."""
    k: int = 32
    """Active features per token: exactly, or in the mean, as the architecture has it."""
    lr: float = 3e-3
    """Peak learning rate of Adam."""
    seed: int = 0
    """Of the initial weights, and of the inputs that are resampled."""
    lr_decay: LRDecay = "linear"
    """How the learning rate falls in the last steps: not at all, in a line to 0, or in half a cosine to 0."""
    warm_up_share: float = 0.05
    """Share of the steps over which the learning rate rises; an L1 penalty rises over the same ones."""
    decay_share: float = 0.3
    """Share of the steps over which it falls."""
    max_grad_norm: float | None = 1.0
    """Norm of all gradients together to which they are clipped at each step; None does not clip."""
    dead_features: Literal["auxiliary", "resample", "none"] = "auxiliary"
    """What is done for dead features. auxiliary: the loss of Gao et al. (2024, appendix A.2), which topk, batchtopk and
    matryoshka_batchtopk have; resample: see ``ato.saes.training.resampling``; none: nothing."""
    dead_after: int = 20_000
    """Tokens of the sliding window that decides which features are dead."""
    dead_threshold: float | None = None
    """Activation rate in the window below which a feature is dead; 0: not active in it at all. None: 0.001 where dead
    features are resampled, else 0."""
    resample_every: int = 50_000
    """Tokens between two resamplings; there are none in the last 30 % of the steps."""
    held_out_every: int | None = None
    """Steps between two measurements of the FVU on the val split; None measures and stops nothing. The SAE that is
    returned is that of the lowest one."""
    patience: int = 3
    """Measurements in a row without a lower FVU after which the training of this SAE stops."""
    l1_coefficient: float | None = None
    """Of the L1 penalty (standard, gated), on inputs with a mean norm of sqrt(d_in); None: moved so that k features are
    active in the mean."""
    widths: Sequence[int] | None = None
    """Numbers of features of the nested dictionaries (matryoshka_batchtopk), ascending, the last of them d_sae; None: a
    sixteenth, an eighth, a quarter, half and all."""

    def __post_init__(self) -> None:
        if self.architecture not in TRAINABLE:
            cure = f"use {' or '.join(TRAINABLE)}"
            raise SettingsError(f"an SAE of architecture {self.architecture!r} cannot be trained", cure=cure)
        if not 0 < self.k <= self.d_sae:
            what = f"k = {self.k} is not between 1 and d_sae = {self.d_sae}"
            raise SettingsError(what, cure="choose a smaller k" if self.k > 0 else "choose a k of at least 1")
        for name in OPTIONS:
            if getattr(self, name) is not None and name not in self.method.options:
                having = " or ".join(other for other, method in TRAINABLE.items() if name in method.options)
                what = f"an SAE of architecture {self.architecture} has no {name}"
                raise SettingsError(what, cure=f"leave it out, or train {having}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        positive = (
            "lr",
            "max_grad_norm",
            "dead_after",
            "resample_every",
            "held_out_every",
            "patience",
            "l1_coefficient",
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} = {value} must be positive")
        for name in ("warm_up_share", "decay_share", "dead_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise SettingsError(f"{name} = {value} is not a share from 0 to below 1")
        if self.warm_up_share + self.decay_share > 1:
            what = f"warm_up_share = {self.warm_up_share} and decay_share = {self.decay_share} are more than all steps"
            raise SettingsError(what, cure="lower one of them")
        _check_choice("lr_decay", self.lr_decay, ("constant", "linear", "cosine"))
        _check_choice("dead_features", self.dead_features, ("auxiliary", "resample", "none"))
        widths = self.widths
        if widths is not None and not (
            widths and list(widths) == sorted({*widths}) and widths[0] > 0 and widths[-1] == self.d_sae
        ):
            what = f"widths = {list(widths)} do not rise to d_sae = {self.d_sae}"
            raise SettingsError(what, cure="give ascending numbers of features, the last of them d_sae")

    @property
    def method(self) -> TrainingMethod:
        """How it is trained."""
        return TRAINABLE[self.architecture]

    @property
    def label(self) -> str:
        """In words, for messages."""
        return f"{self.architecture} with {self.d_sae:,} features, k = {self.k}, seed {self.seed}"

    def schedule(self, n_steps: int, batch_size: int) -> Schedule:
        """How its training proceeds over that many steps."""
        threshold = self.dead_threshold
        if threshold is None:
            threshold = RATE_OF_DEAD if self.dead_features == "resample" else 0.0
        return Schedule(
            n_steps,
            batch_size,
            self.lr,
            self.dead_after,
            lr_decay=self.lr_decay,
            warm_up_share=self.warm_up_share,
            decay_share=self.decay_share,
            max_grad_norm=self.max_grad_norm,
            dead_threshold=threshold,
            auxiliary=self.dead_features == "auxiliary",
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} = {value!r} is none of the choices", cure=f"use {' or '.join(choices)}")
