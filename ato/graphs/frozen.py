"""A model whose norms, attention patterns and MLP gates are those of one prompt: an affine map of its residual stream.

With the scales of norms, the softmax weights and ``act(h) / h`` held at what they were on the prompt, every block is
affine in the stream, with the same values at the prompt itself. A gated MLP's product ``act(g) u`` of two linear
factors becomes ``(r g u0 + r g0 u) / 2``, ``r = act(g0) / g0``: half of the credit to each (RelP's half rule, Jafari et
al., 2025, arXiv 2508.21258). Parts are run by the model's own code but for these functions.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ato.errors import ModelError
from ato.models.language_model import LanguageModel
from ato.models.layouts import text_config

_GATED = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
_FUSED = ("gate_up_proj", "down_proj")
_ACTS = ("act_fn", "activation_fn", "act")
_EPSILONS = ("variance_epsilon", "eps", "epsilon")
_TOLERANCE = 1e-2
"""Relative, of what a part gives by its own code and by the formula here; half precision needs that much."""


@dataclass(frozen=True)
class Attended:
    """What the attention of a block has in a pass of the frozen model."""

    layer: int
    query: Tensor
    """[b, heads, t, d_head], rotated by position and normed where the family does so: affine in the stream, too."""
    key: Tensor
    """[b, heads of keys, t, d_head], likewise."""
    value: Tensor
    """[b, heads of keys, t, d_head]."""
    output: Tensor
    """[b, t, heads, d_head], what the heads give to the output projection."""


class FrozenParts:
    """What is held of one prompt, and the patches that use it.

    The first pass in ``applied()`` records, later ones replay: of any number of rows, and of as many tokens or the
    first of them, since no token depends on later ones.

    Args:
        model: every block of which has an attention with a softmax and one MLP, gated or plain.

    Raises:
        ModelError: a block has other parts (state-space layers, experts), or a part that the formulas do not describe.
    """

    def __init__(self, model: LanguageModel):
        self._model = model
        self._held: dict[nn.Module, tuple[Tensor, ...]] = {}
        self._scores: dict[nn.Module, tuple[float, float | None]] = {}
        self._watch: Callable[[Attended], Tensor] | None = None
        self._forwards: dict[nn.Module, Callable[..., Tensor]] = {}
        self._attentions = [model.parts.submodule(layer, "attention") for layer in range(model.n_layers)]
        self._layer = {attention: layer for layer, attention in enumerate(self._attentions)}
        self._modules = {type(attention).__module__ for attention in self._attentions}
        for name in self._modules:
            if not hasattr(sys.modules[name], "eager_attention_forward"):
                raise _unsupported(model, f"attention of {name.rsplit('.', 1)[-1]} has no pattern that can be held")
        for block, attention in zip(model.blocks, self._attentions):
            self._add_norms(block)
            self._add_mlp(block, attention)
        self._add_norms(model.parts.final_norm)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the formulas in place of the model's own norms, attention and MLPs."""
        with self._model.exclusive(), ExitStack() as undo:
            for module, forward in self._forwards.items():
                undo.enter_context(_replaced(module.__dict__, "forward", forward))
            for name in self._modules:
                own = sys.modules[name].eager_attention_forward  # type: ignore[attr-defined]
                undo.enter_context(
                    _replaced(sys.modules[name].__dict__, "eager_attention_forward", self._attention(own))
                )
            undo.enter_context(eager(self._model, self._attentions))
            yield

    def pattern(self, layer: int) -> Tensor:
        """Attention weights [1, heads, t, t] of a block on the prompt: from each token (third axis) to others."""
        return self._held[self._attentions[layer]][0]

    def scaling(self, layer: int) -> tuple[float, float | None]:
        """What products of queries and keys are multiplied by, and the soft cap of their scores, if there is one."""
        return self._scores[self._attentions[layer]]

    @contextmanager
    def watched(self, watch: Callable[[Attended], Tensor]) -> Iterator[None]:
        """Show ``watch`` each attention of the passes within; what it returns takes the place of the heads' output."""
        before, self._watch = self._watch, watch
        try:
            yield
        finally:
            self._watch = before

    def _add_norms(self, inside: nn.Module) -> None:
        for module in inside.modules():
            if "Norm" in type(module).__name__ and not any(True for _ in module.children()):
                self._forwards[module] = self._norm(module)

    def _add_mlp(self, block: nn.Module, attention: nn.Module) -> None:
        for module in block.modules():
            if (parts := _gated_parts(module)) is not None:
                self._forwards[module] = self._gated_mlp(module, *parts)
                return
        skipped = set(attention.modules())
        acts = [module for module in block.modules() if module not in skipped and _is_activation(module)]
        if len(acts) != 1:
            raise _unsupported(self._model, f"{type(block).__name__} has {len(acts)} activation functions, not one MLP")
        self._forwards[acts[0]] = self._activation(acts[0])

    def _norm(self, module: nn.Module) -> Callable[..., Tensor]:
        own, bias = module.forward, getattr(module, "bias", None)
        centred = "LayerNorm" in type(module).__name__ and "RMS" not in type(module).__name__
        epsilon = next((getattr(module, name) for name in _EPSILONS if hasattr(module, name)), 0.0)

        def forward(x: Tensor) -> Tensor:
            around = x - x.mean(-1, keepdim=True) if centred else x
            if module not in self._held:
                held = around.detach()
                scaled = held * torch.rsqrt(held.square().mean(-1, keepdim=True) + epsilon)
                shift = 0 if bias is None else bias
                gain = self._gain(module, scaled, own(x.detach()) - shift)
                self._held[module] = (torch.rsqrt(held.square().mean(-1, keepdim=True) + epsilon) * gain,)
            y = around * _at(x, self._held[module][0])
            return y if bias is None else y + bias

        return forward

    def _gain(self, module: nn.Module, scaled: Tensor, expected: Tensor) -> Tensor:
        """What a norm multiplies by: its weight, in Gemma 1 more than it; what it gives decides."""
        weight = getattr(module, "weight", None)
        gains = [scaled.new_ones(())] if weight is None else [weight.detach(), 1 + weight.detach()]
        errors = [_distance(scaled * gain, expected) for gain in gains]
        if min(errors) > _TOLERANCE:
            raise _unsupported(self._model, f"{type(module).__name__} is no norm that is known here")
        return gains[errors.index(min(errors))]

    def _gated_mlp(
        self, module: nn.Module, split: Callable[[Tensor], tuple[Tensor, Tensor]], act: Callable, down: nn.Module
    ) -> Callable[..., Tensor]:
        own = module.forward

        def forward(x: Tensor) -> Tensor:
            gate, up = split(x)
            if module not in self._held:
                ratio = _ratio(act(gate.detach()), gate.detach())
                self._held[module] = (ratio, (ratio * gate).detach(), up.detach())
                self._compare(module, down((ratio * gate * up).detach()), own(x.detach()))
            ratio, gate0, up0 = (_at(gate, held) for held in self._held[module])
            y: Tensor = down((ratio * gate * up0 + gate0 * up) / 2)
            return y

        return forward

    def _activation(self, module: nn.Module) -> Callable[..., Tensor]:
        own = module.forward

        def forward(x: Tensor) -> Tensor:
            if module not in self._held:
                self._held[module] = (_ratio(own(x.detach()), x.detach()),)
            return x * _at(x, self._held[module][0])

        return forward

    def _attention(self, own: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
        def forward(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any):
            if module in self._held:
                n_tokens = value.shape[2]
                weights = self._held[module][0][:, :, :n_tokens, :n_tokens]
                given = _weighted(weights, value)
                if self._watch is not None:
                    given = self._watch(Attended(self._layer[module], query, key, value, given))
                return given, weights
            expected, weights = own(module, query.detach(), key.detach(), value.detach(), *args, **kwargs)
            self._held[module] = (weights.detach(),)
            self._scores[module] = kwargs.get("scaling") or query.shape[-1] ** -0.5, kwargs.get("softcap")
            given = _weighted(weights.detach(), value)
            self._compare(module, given, expected)
            return given, weights

        return forward

    def _compare(self, module: nn.Module, given: Tensor, expected: Tensor) -> None:
        if given.shape != expected.shape or _distance(given, expected) > _TOLERANCE:
            raise _unsupported(self._model, f"{type(module).__name__} computes more than is known here")


@contextmanager
def eager(model: LanguageModel, attentions: list[nn.Module]) -> Iterator[None]:
    """Let attention be computed by the model's own Python code, whatever fused kernel it was loaded with."""
    found = [text_config(model.module.config), getattr(model.parts.body, "config", None)]
    found += [getattr(attention, "config", None) for attention in attentions]
    configs = list({id(config): config for config in found if config is not None}.values())
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, name in zip(configs, before):
            config._attn_implementation = name


@contextmanager
def _replaced(names: Any, name: str, value: object) -> Iterator[None]:
    missing = object()
    before = names.get(name, missing)
    names[name] = value
    try:
        yield
    finally:
        if before is missing:
            del names[name]
        else:
            names[name] = before


def _gated_parts(module: nn.Module) -> tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Callable, nn.Module] | None:
    """How a gated MLP makes its two factors, its activation function and its last projection; None of other modules."""
    act = next((getattr(module, name) for name in _ACTS if hasattr(module, name)), nn.functional.silu)
    for gate, up, down in _GATED:
        first, second, last = (getattr(module, name, None) for name in (gate, up, down))
        if isinstance(first, nn.Linear) and isinstance(second, nn.Linear) and isinstance(last, nn.Linear):
            return partial(_two, first, second), act, last
    both, last = (getattr(module, name, None) for name in _FUSED)
    if isinstance(both, nn.Linear) and isinstance(last, nn.Linear):
        return lambda x: both(x).chunk(2, dim=-1), act, last
    return None


def _two(first: nn.Module, second: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    return first(x), second(x)


def _is_activation(module: nn.Module) -> bool:
    where = type(module).__module__
    return where in ("torch.nn.modules.activation", "transformers.activations")


def _at(x: Tensor, held: Tensor) -> Tensor:
    """What is held, of as many tokens as x has; some modules are given the tokens of all rows as one [b * t, d]."""
    if x.dim() == 2 and len(x) > len(held):
        return held.repeat(len(x) // len(held), 1)
    return held[tuple(slice(size) for size in x.shape)]


def _ratio(value: Tensor, x: Tensor) -> Tensor:
    """value / x, 0 where x is 0: there every activation function that is used is 0 too."""
    return torch.where(x == 0, 0, value / torch.where(x == 0, 1, x)).detach()


def _weighted(weights: Tensor, value: Tensor) -> Tensor:
    """[b, t, heads, d] of weights [1, heads, t, t] and values [b, heads of keys, t, d], as transformers returns it."""
    value = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
    return (weights @ value).transpose(1, 2).contiguous()


def _distance(a: Tensor, b: Tensor) -> float:
    largest = float(b.abs().max()) if b.numel() else 0.0
    return float((a - b).abs().max()) / largest if largest else float((a - b).abs().sum())


def _unsupported(model: LanguageModel, what: str) -> ModelError:
    cure = "use a model of plain attention and MLPs such as GPT-2, Pythia, Llama, Qwen or Gemma"
    return ModelError(f"no locally linear form: {what}", where=model.identity.model, cure=cure)
