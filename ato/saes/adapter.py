"""Transcoder adapters: sparse features beside frozen MLPs, so that a base model's MLPs do what a fine-tuned one's do."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ato.errors import MismatchError, ModelError, SAEError
from ato.models.families import ModelParts
from ato.saes.transcoder import Transcoder

OnFeatures = Callable[[int, Tensor], object]
"""Told the layer and the features' activations [b, t, n_features] of a pass."""


@dataclass(frozen=True, eq=False)
class AdapterLayer:
    """``W_dec relu(W_enc x + b_enc) (+ b_dec)``, added to what the MLP of one layer makes of x.

    Weights stand as in the published checkpoints: those of ``nn.Linear``.

    Raises:
        SAEError: shapes that do not fit together.
    """

    W_enc: Tensor
    """[n_features, d]."""
    b_enc: Tensor
    """[n_features]."""
    W_dec: Tensor
    """[d, n_features]."""
    b_dec: Tensor | None = None
    """[d]; None where there is no decoder bias."""

    def __post_init__(self) -> None:
        n, d = self.W_enc.shape if self.W_enc.ndim == 2 else (0, 0)
        shapes = {"b_enc": (n,), "W_dec": (d, n)} | ({} if self.b_dec is None else {"b_dec": (d,)})
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                what = f"{name} of the adapter is {list(getattr(self, name).shape)}, expected {list(shape)}"
                raise SAEError(f"{what} beside W_enc {list(self.W_enc.shape)}", cure="use the weights of one adapter")

    @property
    def transcoder(self) -> Transcoder:
        """The same features as those of a transcoder, which reads ``mlp_in`` and writes what is added to ``mlp_out``."""
        b_dec = torch.zeros(len(self.W_dec)).to(self.W_dec) if self.b_dec is None else self.b_dec
        return Transcoder("standard", self.W_enc.T.contiguous(), self.b_enc, self.W_dec.T.contiguous(), b_dec)

    @property
    def weights(self) -> list[Tensor]:
        """Encoder, its bias, decoder and, where there is one, its bias."""
        return [w for w in (self.W_enc, self.b_enc, self.W_dec, self.b_dec) if w is not None]

    def features(self, x: Tensor) -> Tensor:
        """Activations [..., n_features] of x [..., d]."""
        return torch.relu(nn.functional.linear(x.to(self.W_enc), self.W_enc, self.b_enc))

    def added(self, features: Tensor) -> Tensor:
        """What they add [..., d] to the MLP's output."""
        return nn.functional.linear(features, self.W_dec, self.b_dec)


@dataclass(frozen=True, eq=False)
class TranscoderAdapter:
    """The adapter of a model, a layer each; layers without one keep the MLP of the fine-tuned model."""

    layers: dict[int, AdapterLayer]
    disabled: frozenset[int] = frozenset()
    """Layers whose features are switched off: there the base model's MLP works alone."""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        """Features of each layer."""
        return next(iter(self.layers.values())).W_enc.shape[0]

    @property
    def parameters(self) -> list[Tensor]:
        """All weights, layer by layer."""
        return [weight for layer in sorted(self.layers) for weight in self.layers[layer].weights]

    def to(self, device: str | torch.device) -> "TranscoderAdapter":
        """The same on another device."""
        made = {}
        for layer, one in self.layers.items():
            encoder, bias, decoder, *further = (weight.to(device) for weight in one.weights)
            made[layer] = AdapterLayer(encoder, bias, decoder, *further)
        return replace(self, layers=made)

    def without(self, layers: Collection[int] | None = None) -> "TranscoderAdapter":
        """The same with the features of some layers, or of all, switched off."""
        return replace(self, disabled=frozenset(self.layers if layers is None else layers))

    def permuted(self, seed: int = 0) -> "TranscoderAdapter":
        """The null: the same features, each with the decoder column of another."""
        generator, made = torch.Generator().manual_seed(seed), {}
        for layer, one in self.layers.items():
            order = torch.randperm(self.n_features, generator=generator).to(one.W_dec.device)
            made[layer] = replace(one, W_dec=one.W_dec[:, order])
        return replace(self, layers=made)


def new_adapter(
    layers: Collection[int], d_model: int, n_features: int, *, dec_bias: bool = True, seed: int = 0
) -> TranscoderAdapter:
    """One that adds nothing yet: encoders uniform in +-1/sqrt(d), all else 0.

    Raises:
        SAEError: no layers or no features.
    """
    if not layers or n_features < 1:
        raise SAEError(
            f"an adapter of {len(layers)} layers with {n_features} features each", cure="ask for one at least"
        )
    generator, made = torch.Generator().manual_seed(seed), {}
    for layer in sorted(layers):
        encoder = (2 * torch.rand(n_features, d_model, generator=generator) - 1) / d_model**0.5
        bias = torch.zeros(d_model) if dec_bias else None
        made[layer] = AdapterLayer(encoder, torch.zeros(n_features), torch.zeros(d_model, n_features), bias)
    return TranscoderAdapter(made)


@contextmanager
def adapted(
    parts: ModelParts,
    adapter: TranscoderAdapter,
    base: ModelParts | None = None,
    *,
    layers: Collection[int] | None = None,
    on_features: OnFeatures | None = None,
) -> Iterator[None]:
    """Within it, the MLPs of a model are those of the base model, with the adapter's features beside them.

    Args:
        parts: of the fine-tuned model, whose attention, norms and embeddings work on.
        adapter: what is added; gradients reach its weights.
        base: of the base model; None where ``parts`` has its MLPs already, as a checkpoint of an adapter has.
        layers: those of the adapter to change; default all.
        on_features: told the activations of each layer whose features are not switched off.

    Raises:
        ModelError: a block without an MLP of its own, or one that gives more than its output.
        MismatchError: models of other shapes.
    """
    chosen = sorted(adapter.layers if layers is None else set(layers) & set(adapter.layers))
    check_fit(parts, adapter, base)
    with ExitStack() as undo:
        for layer in chosen:
            own = parts.submodule(layer, "mlp")
            undo.enter_context(_patched(own, _beside(layer, own, adapter, base, on_features)))
        yield


def check_fit(parts: ModelParts, adapter: TranscoderAdapter, base: ModelParts | None = None) -> None:
    """Refuse an adapter, or a base model, of other shapes; see ``adapted``."""
    layout = parts.layout
    if layout is None or not layout.mlp or not layout.mlp_projection.startswith(f"{layout.mlp}."):
        kind = type(parts.blocks[0]).__name__
        cure = "use a model of a family whose blocks have one MLP: Llama, Qwen, Gemma 1 to 3, GPT-2, Pythia and others"
        raise ModelError(f"blocks of the kind {kind} have no MLP that an adapter can stand beside", cure=cure)
    if wrong := [layer for layer in adapter.layers if not 0 <= layer < len(parts.blocks)]:
        raise MismatchError(f"the model has no layers {wrong}", cure="use the adapter of this model")
    if base is None:
        return
    for layer in adapter.layers:
        ours, theirs = (_shapes(of.submodule(layer, "mlp")) for of in (parts, base))
        if ours != theirs:
            what = f"the MLPs of layer {layer} differ in shape between the two models"
            raise MismatchError(what, cure="use the model that the fine-tuned one was made from")


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in module.named_parameters()}


def _beside(
    layer: int, own: nn.Module, adapter: TranscoderAdapter, base: ModelParts | None, on_features: OnFeatures | None
) -> Callable[..., Tensor]:
    mlp = own.forward if base is None else base.submodule(layer, "mlp").forward
    one = adapter.layers[layer]

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = mlp(x, *args, **kwargs)
        if not isinstance(out, Tensor):
            cure = "use a model without experts in these layers"
            raise ModelError(f"the MLP of block {layer} gives more than its output", cure=cure)
        if layer in adapter.disabled:
            return out
        features = one.features(x)
        if on_features is not None:
            on_features(layer, features)
        return out + one.added(features).to(out)

    return forward


@contextmanager
def _patched(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Another forward for a while; the module stays, since models and hooks hold on to it."""
    before: Mapping[str, Any] = dict(module.__dict__)
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if "forward" in before:
            module.__dict__["forward"] = before["forward"]
        else:
            del module.__dict__["forward"]
