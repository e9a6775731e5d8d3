"""Which features of an SAE were active lately: a sliding window over the tokens of its training."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ato.saes.training.schedule import Schedule

PARTS = 8
"""Parts of the window, the oldest of which is dropped as a whole: the memory is this many counts for each feature."""


class Activity:
    """Counts of the tokens on which each feature was active, over the window of a schedule.

    With a threshold of 0 a feature is dead that was not active for more than ``schedule.dead_steps`` steps, as in sae-lens'
    trainer. With another one it is dead if its rate in the window is below the threshold; the window is then made of 8 parts
    (fewer if it has fewer steps), and a feature that has not been watched for a whole window is not dead.

    Args:
        d_sae: number of features.
        schedule: says window and threshold.
        device: where the counts are.
    """

    def __init__(self, d_sae: int, schedule: Schedule, device: torch.device | str = "cpu"):
        self._schedule = schedule
        self._n_parts = min(PARTS, schedule.dead_steps)
        self._part = -(-schedule.dead_steps // self._n_parts)
        self._silent = torch.zeros(d_sae, device=device)
        self._age = torch.zeros(d_sae, device=device)
        self._counts = torch.zeros(self._n_parts if schedule.dead_threshold else 0, d_sae, device=device)
        self._n_done = 0

    def update(self, counts: Tensor) -> None:
        """Take a step into account.

        Args:
            counts: [d_sae] tokens of the batch on which each feature was active.
        """
        self._silent = torch.where(counts > 0, 0.0, self._silent + 1)
        if self._schedule.dead_threshold:
            part = self._n_done // self._part % self._n_parts
            if self._n_done % self._part == 0:
                self._counts[part] = 0
            self._counts[part] += counts
            self._age += 1
        self._n_done += 1

    @property
    def dead(self) -> Tensor:
        """[d_sae] bool."""
        if not self._schedule.dead_threshold:
            return self._silent > self._schedule.dead_steps
        newest = (self._n_done - 1) % self._part + 1
        n_tokens = (newest + (self._n_parts - 1) * self._part) * self._schedule.batch_size
        watched = self._age >= self._n_parts * self._part
        return watched & (self._counts.sum(0) < self._schedule.dead_threshold * n_tokens)

    def forget(self, features: Tensor) -> None:
        """Watch features [m] as if the training had just begun."""
        self._silent[features] = 0
        self._age[features] = 0
        self._counts[:, features] = 0

    def state(self) -> dict[str, Tensor]:
        """All of it, as named tensors."""
        found = {"activity.silent": self._silent, "activity.n_done": torch.tensor(self._n_done)}
        if self._schedule.dead_threshold:
            found |= {"activity.age": self._age, "activity.counts": self._counts}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state`` was taken."""
        self._n_done = int(state["activity.n_done"])
        self._silent.copy_(state["activity.silent"])
        if self._schedule.dead_threshold:
            self._age.copy_(state["activity.age"])
            self._counts.copy_(state["activity.counts"])
