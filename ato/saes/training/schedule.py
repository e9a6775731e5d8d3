"""The learning rate over the steps of a training run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How a training proceeds, in steps."""

    n_steps: int
    batch_size: int
    lr: float
    """Peak learning rate."""
    dead_after: int
    """Tokens without activation after which a feature counts as dead."""

    @property
    def warm_up(self) -> int:
        """First steps, in which the learning rate rises."""
        return self.n_steps // 20

    @property
    def decay(self) -> int:
        """Last steps, in which it falls to 0."""
        return min(3 * self.n_steps // 10, self.n_steps - self.warm_up - 1)

    @property
    def dead_steps(self) -> int:
        """Steps without activation after which a feature counts as dead."""
        return max(1, self.dead_after // self.batch_size)

    def lr_after(self, done: int) -> float:
        """Learning rate of the step after ``done`` steps."""
        rise = (done + 1) / self.warm_up if self.warm_up else 1.0
        fall = (self.n_steps - done) / self.decay if self.decay else 1.0
        return self.lr * min(rise, fall, 1.0)
