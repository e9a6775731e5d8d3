"""Which features are active: the k largest of each token, or as many as that makes in a batch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chosen:
    """Active features of a batch, ordered by token."""

    starts: Tensor
    """[b + 1] int64: the features of token i are those from starts[i] up to starts[i + 1]."""
    feature: Tensor
    """[m] int64."""
    value: Tensor
    """[m] float32, at least 0."""

    @property
    def token(self) -> Tensor:
        """[m] int64."""
        counts = self.starts.diff()
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)

    def between(self, first: int, last: int) -> tuple["Chosen", Tensor]:
        """Features from ``first`` up to ``last``, numbered from 0, and which of the entries they are [m] bool."""
        inside = (self.feature >= first) & (self.feature < last)
        before = torch.cat([inside.new_zeros(1, dtype=torch.int64), inside.cumsum(0)])
        return Chosen(before[self.starts], self.feature[inside] - first, self.value[inside]), inside


class Choice(Protocol):
    """From pre-activations [b, d_sae], each times the length of its decoder row."""

    threshold: float | None
    """Pre-activation, times the length, above which a feature is active without a batch; None where k decides."""
    n_averaged: int
    """Batches that the threshold is the average of."""

    @property
    def settled(self) -> float:
        """The threshold that stands for the choices so far."""
        ...

    def __call__(self, scaled: Tensor) -> Chosen:
        """The active features of a batch."""
        ...


class PerToken:
    """The k largest of each token; those below 0 count as 0."""

    def __init__(self, k: int):
        self._k = k
        self.threshold: float | None = None
        self.n_averaged = 0
        self.settled = 0.0

    def __call__(self, scaled: Tensor) -> Chosen:
        value, feature = scaled.topk(self._k, dim=1, sorted=False)
        starts = torch.arange(0, feature.numel() + 1, self._k, device=scaled.device)
        return Chosen(starts, feature.flatten(), value.relu_().flatten())


class PerBatch:
    """The k x b largest of a batch of b tokens (Bussmann et al., 2024), and the threshold that stands for them afterwards."""

    def __init__(self, k: int, memory: float = 0.01):
        self._k, self._memory = k, memory
        self.threshold: float | None = 0.0
        """Moving average of the smallest active value, from 0: a float64, since float32 and less would round its steps away."""
        self.n_averaged = 0
        """Batches that it is the average of."""

    @property
    def settled(self) -> float:
        """The average without its start from 0, of which some is left after few batches: of a short training most of it."""
        left = (1 - self._memory) ** self.n_averaged
        return (self.threshold or 0.0) / (1 - left) if self.n_averaged else 0.0

    def __call__(self, scaled: Tensor) -> Chosen:
        b, d_sae = scaled.shape
        n, flat = self._k * b, scaled.flatten()
        place = (flat > (self.threshold or 0.0) / 2).nonzero()[:, 0]  # hardly ever less than n, and far fewer than all
        if len(place) < n:
            place = torch.arange(len(flat), device=flat.device)
        value, largest = flat[place].topk(n, sorted=False)
        place = place[largest]
        place, order = place.sort()
        value = value[order].relu_()
        token = place // d_sae
        starts = torch.searchsorted(token, torch.arange(b + 1, device=token.device))
        if len(positive := value[value > 0]):
            so_far = self.threshold or 0.0
            self.threshold = so_far + self._memory * (float(positive.min()) - so_far)
            self.n_averaged += 1
        return Chosen(starts, place % d_sae, value)
