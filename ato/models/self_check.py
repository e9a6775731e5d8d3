"""The check every model passes on load: the residuals read by hooks are the ones the model itself reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ato.errors import AtoError, ModelError
from ato.models.families import possible_scales
from ato.models.layouts import text_config

if TYPE_CHECKING:
    from ato.models.language_model import LanguageModel

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
_CURE = "this model's blocks are not read correctly by this version: use a supported family"


def self_check(model: LanguageModel) -> None:
    """Compare this library's reading of a model with the model's own, on a short prompt.

    What it guarantees afterwards:
    - the residual at layer i is the model's ``hidden_states[i + 1]`` for every layer but the last (``hidden_states[i]`` where
      the model reports no embedding);
    - the last residual is the stream *before* the final norm: the norm of it is the model's last hidden state;
    - logits computed from hidden states are the model's logits, scaled and capped as it does;
    - starting at the middle layer, or below the last, from its own residual gives the same hidden states;
    - no token's residual depends on later tokens, or on padding.

    Sites inside blocks are checked when they are first asked for, see ``ato.models.additivity``.

    Raises:
        ModelError: any of these fails, or a value is NaN or infinite.
    """
    ids = model.prompt_ids
    input_ids = torch.tensor([ids], device=model.device)
    lengths = torch.tensor([len(ids)])
    with torch.no_grad(), _hooks_as_before(model.module):
        truth = model.module(input_ids=input_ids, use_cache=False, output_hidden_states=True)
    states = getattr(truth, "hidden_states", None)
    last = model.n_layers - 1
    residuals = model.residuals(input_ids, lengths, range(model.n_layers))
    if not all(torch.isfinite(x).all() for x in residuals.values()):
        cure = "load it with dtype float32"
        raise ModelError("the model produces NaN or infinite residuals", where=model.identity.model, cure=cure)
    if not states or len(states) != model.n_layers + 1:
        problem = f"the model reports {len(states or ())} hidden states for {model.n_layers} blocks"
        raise ModelError(f"self-check failed: {problem}", where=model.identity.model, cure=_CURE)
    # State-space models report no embedding: there the last residual is reported before the final norm too.
    first = int(any(_error(residuals[layer], states[layer]) > _tolerance(model) for layer in (0, last)))
    for layer in range(last + 1 - first):
        _compare(model, residuals[layer], states[layer + first], f"the residual after block {layer}")
    with torch.no_grad():
        hidden = model.parts.final_norm(residuals[last])
    final = states[last + 1]
    _compare(model, hidden, final, "the final norm of the last residual")
    _check_logits(model, hidden, truth.logits)
    _check_restarts(model, residuals, input_ids, lengths, final)
    _check_order(model, residuals[last], ids)


def _check_logits(model: LanguageModel, hidden: Tensor, truth: Tensor) -> None:
    """Logits must be the model's; an unknown family may scale them by a number of its configuration."""
    if not model.parts.known and _error(model.logits(hidden), truth) > _tolerance(model):
        plain = model.parts
        for scale in possible_scales(text_config(model.module.config)):
            model.parts = replace(plain, logit_scale=scale)
            if _error(model.logits(hidden), truth) < _tolerance(model):
                return
        model.parts = plain
    _compare(model, model.logits(hidden), truth, "the logits")


def _check_restarts(
    model: LanguageModel, residuals: dict[int, Tensor], input_ids: Tensor, lengths: Tensor, final: Tensor
) -> None:
    """Passes that start at a layer must end as whole ones do; all blocks are run where those above need more of it."""
    layers = sorted({model.n_layers // 2, max(0, model.n_layers - 2)})
    for layer in layers:
        try:
            restarted = model.hidden_from(layer, residuals[layer], input_ids, lengths)
            model.bypass_below = model.bypass_below and _error(restarted, final) < _tolerance(model)
        except (AtoError, torch.OutOfMemoryError):
            raise
        except Exception:  # blocks raise whatever they miss
            model.bypass_below = False
    if model.bypass_below:  # each was right
        return
    for layer in layers:
        restarted = model.hidden_from(layer, residuals[layer], input_ids, lengths)
        _compare(model, restarted, final, f"the pass that starts at layer {layer}")


def _check_order(model: LanguageModel, last: Tensor, ids: list[int]) -> None:
    """The first half of the prompt alone, padded behind, must have the residuals that it has in the whole."""
    half = max(1, len(ids) // 2)
    batch = torch.tensor([ids, ids[:half] + [0] * (len(ids) - half)], device=model.device)
    found = model.residuals(batch, torch.tensor([len(ids), half]), [model.n_layers - 1])[model.n_layers - 1]
    _compare(model, found[1:, :half], last[:, :half], "the residual of a text without what follows it")


def _tolerance(model: LanguageModel) -> float:
    return _TOLERANCE.get(model.dtype, 1e-4)


def _error(mine: Tensor, truth: Tensor) -> float:
    if mine.shape != truth.shape:
        return float("inf")
    return float((mine.float() - truth.float()).norm() / truth.float().norm().clamp_min(1e-12))


def _compare(model: LanguageModel, mine: Tensor, truth: Tensor, what: str) -> None:
    if not (error := _error(mine, truth)) < _tolerance(model):
        raise ModelError(
            f"self-check failed: {what} differs from the model's own by {error:.1e} relative",
            where=model.identity.model,
            cure=_CURE,
        )


@contextmanager
def _hooks_as_before(module: nn.Module) -> Iterator[None]:
    """Undo what ``output_hidden_states`` leaves behind: transformers 5 installs its recording hooks for good."""
    before = {child: set(child._forward_hooks) for child in module.modules()}
    try:
        yield
    finally:
        for child, kept in before.items():
            for key in set(child._forward_hooks) - kept:
                del child._forward_hooks[key]
            child.__dict__.pop("_output_capturing_hooks_installed", None)
