"""MLP neurons as a baseline: each neuron is a feature, counted the same way as the features of an SAE."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ato.errors import InputError, MismatchError, SettingsError
from ato.numerics.counter_rng import uniforms
from ato.residuals.blocks import ResidualBlock
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.decoder_rows import DecoderRows


@dataclass(frozen=True, eq=False)
class MLPNeurons(DecoderRows):
    """The hidden layer of one MLP, with what statistics ask of a ``SparseAutoencoder``.

    It reads the site ``mlp_neurons``. A neuron is *active* where its value exceeds its threshold, and its activation is that
    value. The threshold is 0 unless others are given: gated MLPs are above 0 on about half of all tokens, so that
    thresholds at an upper quantile (see ``NeuronThresholds``) make neurons as rare as the features they stand beside.

    Raises:
        SettingsError: thresholds of another number of neurons, or negative ones.
    """

    W_dec: torch.Tensor
    """[d_mlp, d_model] what each neuron adds to the stream for a value of 1: rows of the output projection."""
    threshold: torch.Tensor | None = None
    """[d_mlp] float32, not negative; None for 0."""

    def __post_init__(self) -> None:
        if self.threshold is None:
            return
        if self.threshold.shape != (self.d_sae,) or not bool((self.threshold >= 0).all()):
            raise SettingsError(
                f"thresholds of shape {list(self.threshold.shape)} for {self.d_sae} neurons",
                cure="give one that is not negative for each neuron",
            )

    @property
    def d_sae(self) -> int:
        """Number of neurons."""
        return self.W_dec.shape[0]

    @property
    def d_in(self) -> int:
        """Width of what is read: the number of neurons."""
        return self.d_sae

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over thresholds and weights, first 16 hex digits."""
        digest = hashlib.sha256(b"mlp_neurons")
        for weight in (self.W_dec, self.threshold):
            digest.update(b"none" if weight is None else weight.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The neurons above their thresholds, as triplets.

        Args:
            x: [n, d_mlp] values at ``mlp_neurons``.

        Raises:
            MismatchError: x is not d_mlp wide.
        """
        if x.shape[-1] != self.d_sae:
            raise MismatchError(
                f"values have width {x.shape[-1]}, the MLP has {self.d_sae} neurons", cure="read the site mlp_neurons"
            )
        above = x > (0 if self.threshold is None else self.threshold.to(x.device))
        token, neuron = above.nonzero(as_tuple=True)
        return ActiveFeatures(len(x), token, neuron, x[token, neuron].float())

    def to(self, device: str | torch.device) -> "MLPNeurons":
        """The same neurons on another device."""
        return MLPNeurons(self.W_dec.to(device), None if self.threshold is None else self.threshold.to(device))


def mlp_neurons(model: Any, layer: int, threshold: torch.Tensor | None = None) -> MLPNeurons:
    """The neurons of one layer of a model.

    Args:
        model: a ``LanguageModel``.
        layer: number of the block.
        threshold: [d_mlp] of the neurons; default 0.

    Raises:
        LayerError: the model has no such layer.
        ModelError: the block has no output projection of an MLP, or what it reads is not the hidden layer.
    """
    width = model.width("mlp_neurons", [layer])
    weight = model.parts.submodule(layer, "mlp_projection").weight.detach().float()
    # Linear layers keep [d_model, d_mlp]; GPT-2's Conv1D keeps [d_mlp, d_model].
    is_linear = isinstance(model.parts.submodule(layer, "mlp_projection"), torch.nn.Linear)
    rows = (weight.T if is_linear else weight) * model.parts.multiplier(layer)
    assert rows.shape[0] == width
    return MLPNeurons(rows.contiguous(), threshold)


class NeuronThresholds:
    """Accumulates values of neurons on tokens drawn at random, for thresholds that a share of tokens exceeds.

    Memory is size x d_mlp numbers; the order and the size of blocks change nothing, and two add to that of both streams.

    Args:
        d_mlp: number of neurons.
        layer: layer whose ``mlp_neurons`` it reads.
        size: tokens kept.
        seed: of the draw.
    """

    def __init__(self, d_mlp: int, layer: Layer, size: int = 4096, *, seed: int = 0):
        self._rule = (d_mlp, layer, size, seed)
        self._priority = np.zeros(0)
        self._values = torch.zeros(0, d_mlp)

    def update(self, block: ResidualBlock) -> "NeuronThresholds":
        """Take a block into account."""
        _, layer, _, seed = self._rule
        priority = uniforms(seed, block.sequence_id, block.position)
        self._keep(priority, block.residuals[layer])
        return self

    def __add__(self, other: "NeuronThresholds") -> "NeuronThresholds":
        """What both streams offer.

        Raises:
            MismatchError: they are drawn by different rules.
        """
        if self._rule != other._rule:
            raise MismatchError("thresholds of different rules cannot be added", cure="draw them alike")
        d_mlp, layer, size, seed = self._rule
        total = NeuronThresholds(d_mlp, layer, size, seed=seed)
        for part in (self, other):
            total._keep(part._priority, part._values)
        return total

    def result(self, rate: float) -> torch.Tensor:
        """[d_mlp] thresholds that each neuron exceeds on about this share of tokens, at least 0.

        Args:
            rate: share of tokens, such as the mean activation rate of the SAE beside it.

        Raises:
            InputError: a rate that is no share, or no token was seen.
        """
        if not 0 < rate < 1:
            raise InputError(f"rate {rate} is not between 0 and 1", cure="give the share of tokens to be active on")
        if not len(self._priority):
            raise InputError("no token was seen", cure="pass over the tokens first")
        return torch.from_numpy(np.quantile(self._values.numpy(), 1 - rate, axis=0).astype(np.float32)).clamp_min(0)

    def _keep(self, priority: np.ndarray, values: torch.Tensor) -> None:
        size = self._rule[2]
        held = len(self._priority)
        joined = np.append(self._priority, priority)
        kept = np.argsort(joined, kind="stable")[:size]
        old, new = kept[kept < held], kept[kept >= held]
        fresh = values[torch.from_numpy(new - held).to(values.device)].float().cpu()
        self._values = torch.cat([self._values[torch.from_numpy(old)], fresh])
        self._priority = np.append(joined[old], joined[new])
