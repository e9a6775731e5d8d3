"""The check every model passes on load: the residuals read by hooks are the ones the model itself reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ato.errors import ModelError

if TYPE_CHECKING:
    from ato.models.language_model import LanguageModel

PROMPT = "The residual stream of a transformer carries what earlier blocks have written to later ones."
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}


def self_check(model: LanguageModel) -> None:
    """Compare this library's reading of a model with the model's own, on a short prompt.

    What it guarantees afterwards:
    - the residual at layer i is the model's ``hidden_states[i + 1]`` for every layer but the last;
    - the last residual is the stream *before* the final norm: the norm of it is the model's last hidden state;
    - logits computed from hidden states are the model's logits;
    - starting at the middle layer from its own residual gives the same hidden states.

    Raises:
        ModelError: any of these fails, or a value is NaN or infinite.
    """
    ids = model.tokenizer(PROMPT, add_special_tokens=False)["input_ids"][:32]
    input_ids = torch.tensor([ids], device=model.device)
    lengths = torch.tensor([len(ids)])
    with torch.no_grad(), _hooks_as_before(model.module):
        truth = model.module(input_ids=input_ids, use_cache=False, output_hidden_states=True)
    last = model.n_layers - 1
    residuals = model.residuals(input_ids, lengths, range(model.n_layers))
    hidden = model.parts.final_norm(residuals[last])
    middle = model.n_layers // 2
    if not all(torch.isfinite(x).all() for x in residuals.values()):
        cure = "load it with dtype float32"
        raise ModelError("the model produces NaN or infinite residuals", where=model.identity.model, cure=cure)
    for layer in range(last):
        _compare(model, residuals[layer], truth.hidden_states[layer + 1], f"the residual after block {layer}")
    _compare(model, hidden, truth.hidden_states[last + 1], "the final norm of the last residual")
    _compare(model, model.logits(hidden), truth.logits, "the logits")
    restarted = model.hidden_from(middle, residuals[middle], input_ids, lengths)
    _compare(model, restarted, truth.hidden_states[last + 1], f"the pass that starts at layer {middle}")


def _compare(model: LanguageModel, mine: Tensor, truth: Tensor, what: str) -> None:
    error = (mine.float() - truth.float()).norm() / truth.float().norm().clamp_min(1e-12)
    if mine.shape != truth.shape or not error < _TOLERANCE.get(model.dtype, 1e-4):
        raise ModelError(
            f"self-check failed: {what} differs from the model's own by {error:.1e} relative",
            where=model.identity.model,
            cure="this model's blocks are not read correctly by this version: use a supported family",
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
