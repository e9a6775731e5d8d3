"""How a training proceeds over its steps: learning rate, clipping of gradients, and when a feature is dead."""

import math
from dataclasses import dataclass
from typing import Literal

LRDecay = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """How a training proceeds, in steps."""

    n_steps: int
    batch_size: int
    lr: float
    """Peak learning rate."""
    dead_after: int
    """Tokens of the window in which a feature must have been active, else it is dead."""
    lr_decay: LRDecay = "linear"
    """How the learning rate falls in the last steps: not at all, in a line to 0, or in half a cosine to 0."""
    warm_up_share: float = 0.05
    """Share of the steps, at the beginning, over which it rises."""
    decay_share: float = 0.3
    """Share of the steps, at the end, over which it falls."""
    max_grad_norm: float | None = 1.0
    """Norm of all gradients of an SAE together to which they are clipped; None leaves them as they are."""
    dead_threshold: float = 0.0
    """Activation rate in the window below which a feature is dead; 0: only those that were never active."""
    auxiliary: bool = True
    """Whether dead features are trained by the auxiliary loss, where the architecture has one."""

    @property
    def warm_up(self) -> int:
        """First steps, in which the learning rate rises."""
        return _steps(self.warm_up_share, self.n_steps)

    @property
    def decay(self) -> int:
        """Last steps, in which it falls to 0; 0 where it does not fall."""
        if self.lr_decay == "constant":
            return 0
        return max(0, min(_steps(self.decay_share, self.n_steps), self.n_steps - self.warm_up - 1))

    @property
    def dead_steps(self) -> int:
        """Steps of the window."""
        return max(1, self.dead_after // self.batch_size)

    def lr_after(self, done: int) -> float:
        """Learning rate of the step after ``done`` steps."""
        rise = (done + 1) / self.warm_up if self.warm_up else 1.0
        fall = (self.n_steps - done) / self.decay if self.decay else 1.0
        if self.lr_decay == "cosine":
            fall = 0.5 - 0.5 * math.cos(math.pi * min(fall, 1.0))
        return self.lr * min(rise, fall, 1.0)


def _steps(share: float, n_steps: int) -> int:
    """Whole steps of a share; 0.3 of 10 are 3, whatever the rounding of the product."""
    return int(share * n_steps + 1e-9 * n_steps)
