"""What is put in place of the residual at a target layer, and at which positions (the causal check, Fig. 5)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ato.causal.intervention_names import ALL, FEATURE_INTERVENTIONS, INTERVENTIONS, NONE, SHARED
from ato.errors import SAEError, SettingsError
from ato.operators.operator import TransportOperator
from ato.saes.autoencoder import SparseAutoencoder

ACTIVE = "active"


@dataclass(frozen=True)
class PositionSet:
    """The positions of a sequence that an intervention replaces."""

    name: str
    """As it was written, and as tables call it."""
    positions: tuple[int, ...] | None
    """Ascending, from 0; None for all."""

    @classmethod
    def parse(cls, text: str) -> "PositionSet":
        """Positions from ``"10,50,70"`` or ``"all"``.

        A list is edited as it is written. ``all`` leaves alone what statistics leave out, as the rules of the
        collection have it: by default position 0, special tokens and norm outliers, which carry massive activations
        that no operator was fitted on.

        Raises:
            SettingsError: neither ``all`` nor numbers from 0 on.
        """
        if text == ALL:
            return cls(text, None)
        try:
            positions = sorted({int(number) for number in text.split(",")})
        except ValueError:
            positions = [-1]
        if positions[0] < 0:
            raise SettingsError("invalid set of positions", where=repr(text), cure="write 10,50,70 or all")
        return cls(text, tuple(positions))

    @property
    def longest(self) -> int:
        """The last position that must exist; 0 for all."""
        return self.positions[-1] if self.positions else 0

    def mask(self, editable: Tensor) -> Tensor:
        """Mask [t] of the edited positions; ``editable`` [t] are those that ``all`` stands for."""
        if self.positions is None:
            return editable
        mask = torch.zeros_like(editable)
        mask[list(self.positions)] = True
        return mask


@dataclass(frozen=True)
class Intervention:
    """One way to change a sequence's residuals at the target layer."""

    name: str
    """One of ``INTERVENTIONS`` or ``FEATURE_INTERVENTIONS``; ``none`` for the unedited model."""
    positions: str
    """Name of the position set; ``active`` for features, empty for none."""
    source_layer: int | None = None
    """None for what needs no source."""
    feature_id: int | None = None
    """The only feature that is changed; None for whole residuals."""


NO_INTERVENTION = Intervention(NONE, "")


@lru_cache(maxsize=2)
def random_rotation(d: int, seed: int) -> Tensor:
    """A random orthogonal matrix [d, d] float32, uniform over all of them, the same for equal seeds.

    QR of a Gaussian matrix with the signs of R moved into Q (Mezzadri, 2007: without that, Q is not uniform).
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    return torch.from_numpy((q * np.sign(np.diag(r))).astype(np.float32))


class ResidualEdits:
    """Replacements of whole residuals y [t, d] at one target layer, for all operators that end there.

    - ``transport``: T x + b of the source layer's residual at the same position;
    - ``bias``: T 0 + b, the study's ablation;
    - ``mean``: mean of y over the train tokens, as the operators keep it;
    - ``zero``: 0;
    - ``identity``: x itself;
    - ``random_rotation``: R y with one seeded random rotation R, so that norms are kept and directions are not.

    Args:
        layer: target layer.
        operators: source layer -> operator.
        positions: sets of edited positions.
        interventions: of ``INTERVENTIONS``.
        seed: of the random rotation.

    Raises:
        SettingsError: unknown intervention, or ``mean`` without an operator that keeps the train mean.
    """

    def __init__(
        self,
        layer: int,
        operators: Mapping[int, TransportOperator],
        positions: Sequence[PositionSet],
        interventions: Sequence[str] = INTERVENTIONS,
        seed: int = 0,
    ):
        if unknown := sorted(set(interventions) - set(INTERVENTIONS)):
            raise SettingsError(f"unknown interventions {unknown}", cure=f"choose from {', '.join(INTERVENTIONS)}")
        self.layer, self.operators = layer, dict(sorted(operators.items()))
        self._interventions, self._positions, self._seed = tuple(interventions), tuple(positions), seed
        means = (o.y_mean for o in self.operators.values() if o.y_mean is not None)
        self._mean = next(means, None)
        if "mean" in interventions and self._mean is None:
            raise SettingsError(
                "no operator holds the train mean of its target",
                where=f"layer {layer}",
                cure="fit the operators again, or leave out the intervention mean",
            )

    @property
    def layers(self) -> set[int]:
        """Layers whose residuals the edits are made from."""
        return {self.layer, *self.operators}

    @property
    def names(self) -> list[Intervention]:
        """Every intervention, in the order that ``edits`` makes them."""
        return [Intervention(name, p.name, source) for name, source in self._variants() for p in self._positions]

    def edits(self, residuals: Mapping[int, Tensor], editable: Tensor) -> Iterator[tuple[Intervention, Tensor, Tensor]]:
        """(intervention, mask [t] of edited positions, residual [t, d] after it) for one sequence.

        Args:
            residuals: layer -> [t, d].
            editable: [t] bool, the positions that ``all`` stands for.
        """
        y = residuals[self.layer]
        for name, source in self._variants():
            replacement = self._replacement(name, source, residuals)
            for positions in self._positions:
                mask = positions.mask(editable)
                yield Intervention(name, positions.name, source), mask, torch.where(mask[:, None], replacement, y)

    def _variants(self) -> list[tuple[str, int | None]]:
        """(name, source layer), shared ones once."""
        return [
            (name, source) for name in self._interventions for source in ([None] if name in SHARED else self.operators)
        ]

    def _replacement(self, name: str, source: int | None, residuals: Mapping[int, Tensor]) -> Tensor:
        """What stands in for y, broadcastable to [t, d]."""
        y = residuals[self.layer]
        if name == "mean":
            assert self._mean is not None
            return torch.from_numpy(self._mean).to(y)
        if name == "random_rotation":
            rotation = random_rotation(y.shape[-1], self._seed).to(y.device)
            return (y.to(rotation.dtype) @ rotation.T).to(y.dtype)
        if source is None:
            return torch.zeros_like(y)
        x = residuals[source]
        if name == "identity":
            return x
        operator = self.operators[source]
        return operator(x if name == "transport" else torch.zeros_like(x[:1]))


class FeatureEdits:
    """Replacements of one SAE feature's component of y, where the SAE activates the feature.

    With u the unit decoder row of the feature: ``feature_transport`` is y + u u.(T x + b - y), ``feature_zero`` is
    y - u u.y. Positions that statistics leave out are left alone.

    Args:
        layer: target layer, which the SAE reads.
        operators: source layer -> operator.
        sae: the SAE.
        feature_ids: the features, each edited on its own.
        interventions: of ``FEATURE_INTERVENTIONS``.

    Raises:
        SAEError: a feature that the SAE does not have.
    """

    def __init__(
        self,
        layer: int,
        operators: Mapping[int, TransportOperator],
        sae: SparseAutoencoder,
        feature_ids: Sequence[int],
        interventions: Sequence[str] = FEATURE_INTERVENTIONS,
    ):
        if wrong := sorted(f for f in feature_ids if not 0 <= f < sae.d_sae):
            raise SAEError(f"the SAE has no feature {wrong}", cure=f"use features 0 to {sae.d_sae - 1}")
        self.layer, self.operators = layer, dict(sorted(operators.items()))
        self._sae, self._features, self._interventions = sae, list(feature_ids), tuple(interventions)

    @property
    def layers(self) -> set[int]:
        """Layers whose residuals the edits are made from."""
        return {self.layer, *self.operators}

    @property
    def names(self) -> list[Intervention]:
        """Every intervention, in the order that ``edits`` makes them."""
        return [Intervention(name, ACTIVE, source, f) for name, source in self._variants() for f in self._features]

    def edits(self, residuals: Mapping[int, Tensor], editable: Tensor) -> Iterator[tuple[Intervention, Tensor, Tensor]]:
        """As ``ResidualEdits.edits``."""
        y = residuals[self.layer]
        active = self._sae.active(y)
        exact = y.to(torch.promote_types(y.dtype, torch.float32))
        for name, source in self._variants():
            change = -exact if source is None else self.operators[source](residuals[source].to(exact)) - exact
            for feature in self._features:
                mask = torch.zeros_like(editable)
                mask[active.token[active.feature == feature].to(mask.device)] = True
                mask &= editable
                u = self._sae.decoder_directions[feature].to(exact)
                edited = (exact + (change @ u)[:, None] * u).to(y.dtype)
                yield Intervention(name, ACTIVE, source, feature), mask, torch.where(mask[:, None], edited, y)

    def _variants(self) -> list[tuple[str, int | None]]:
        """(name, source layer); removing a feature needs no source."""
        return [
            (name, source)
            for name in self._interventions
            for source in ([None] if name == "feature_zero" else self.operators)
        ]
