"""Innovation SAEs: sparse features of what the layers in between computed, y - T x - b."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ato.errors import LayerError, SAEError
from ato.operators.operator import TransportOperator
from ato.residuals.blocks import ResidualBlock, ResidualSource
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder


@dataclass(frozen=True, eq=False)
class InnovationSAE:
    """An SAE of the innovation v = y - T x - b, with the operator that it is taken with.

    x is the residual at the operator's source layer and y that of the same token at its target layer. The
    reconstruction of y is ``T x + b + sae(v)``, so that its error is that of v. With T = 0 and b = 0 it is the SAE itself.

    Raises:
        SAEError: the SAE is not as wide as the target layer, or the operator does not say its layers.
    """

    operator: TransportOperator
    sae: SparseAutoencoder
    """Reads and writes v."""
    operator_key: str | None = None
    """Key of the operator in the warehouse; None: it is in none."""

    def __post_init__(self) -> None:
        if self.sae.d_in != self.operator.d_out:
            what = f"the SAE reads width {self.sae.d_in}, the operator gives {self.operator.d_out}"
            raise SAEError(what, cure="use the operator that the SAE was trained with")
        if None in (self.operator.source_layer, self.operator.target_layer):
            raise SAEError("the operator does not say its layers", cure="fit it with source_layer and target_layer")

    @property
    def layers(self) -> tuple[int, int]:
        """(source, target)."""
        return layers_of(self.operator)

    @property
    def architecture(self) -> str:
        """That of the SAE."""
        return self.sae.architecture

    @property
    def k(self) -> int | None:
        """That of the SAE."""
        return self.sae.k

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.sae.d_sae

    @property
    def W_dec(self) -> torch.Tensor:
        """[d_sae, d_out] decoder rows: directions of the target layer."""
        return self.sae.W_dec

    @property
    def b_dec(self) -> torch.Tensor:
        """[d_out]."""
        return self.sae.b_dec

    @property
    def n_parameters(self) -> int:
        """Numbers of SAE, T and b together."""
        return n_parameters(self.sae) + self.operator.matrix.size + self.operator.bias.size

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over operator and SAE, first 16 hex digits."""
        digest = hashlib.sha256(f"innovation {self.sae.weights_hash}".encode())
        for array in (self.operator.matrix, self.operator.bias):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def predicted(self, x: torch.Tensor) -> torch.Tensor:
        """``T x + b`` [n, d_out] float32 of x [n, d_in]."""
        return self.operator(x.to(self.W_dec))

    def active(self, v: torch.Tensor) -> ActiveFeatures:
        """The positive activations of innovations v [n, d_out]."""
        return self.sae.active(v)

    def decode_active(self, active: ActiveFeatures) -> torch.Tensor:
        """What is decoded [n, d_out] of v."""
        return self.sae.decode_active(active)

    def reconstruct(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``T x + b + sae(y - T x - b)`` [n, d_out] of x [n, d_in] and y [n, d_out]."""
        predicted = self.predicted(x)
        return predicted + self.sae.reconstruct(y.to(predicted) - predicted)

    def to(self, device: str | torch.device) -> "InnovationSAE":
        """The same with its SAE on another device; the operator follows what it is given."""
        return replace(self, sae=self.sae.to(device))


def n_parameters(sae: SparseAutoencoder) -> int:
    """Numbers of all weights of an SAE."""
    return sum(weight.numel() for weight in sae.weights.values())


def layers_of(operator: TransportOperator) -> tuple[int, int]:
    """(source, target) of an operator that says them."""
    assert operator.source_layer is not None
    assert operator.target_layer is not None
    return operator.source_layer, operator.target_layer


def without_features(operator: TransportOperator, operator_key: str | None = None) -> InnovationSAE:
    """T x + b alone, the baseline: an innovation SAE whose one feature never fires and whose decoder adds nothing."""
    d = operator.d_out
    silent = SparseAutoencoder("standard", torch.zeros(d, 1), -torch.ones(1), torch.zeros(1, d), torch.zeros(d))
    return InnovationSAE(operator, silent, operator_key)


class Innovations:
    """A residual source whose rows at an operator's target layer are innovations y - T x - b.

    Both layers are read in one pass. Rows of the source layer, where they are asked for, are x as it is.

    Args:
        source: of residuals at both layers of the same tokens.
        operator: same position.

    Raises:
        LayerError: the source lacks one of both layers.
    """

    def __init__(self, source: ResidualSource, operator: TransportOperator):
        self.layers = tuple(sorted(layers_of(operator)))
        if missing := sorted(set(self.layers) - set(source.layers)):
            raise LayerError(f"layers {missing} are not in this source", cure="collect both layers of the operator")
        self.d_model, self.n_folds = operator.d_out, source.n_folds
        self._source, self._operator = source, operator

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """The source's blocks; the target layer holds innovations [n, d_out] float32.

        Raises:
            LayerError: another layer than the two.
        """
        wanted = self.layers if layers is None else tuple(layers)
        if missing := sorted(set(wanted) - set(self.layers)):
            raise LayerError(f"no innovations of layers {missing}", cure=f"choose from {list(self.layers)}")
        source, target = layers_of(self._operator)
        for block in self._source.blocks(list(self.layers), splits):
            y = block.residuals[target].float()
            innovation = y - self._operator(block.residuals[source].float()).to(y.device)
            found = block.residuals | {target: innovation}
            yield replace(block, residuals={layer: found[layer] for layer in wanted})
