"""One pass over whole prompts of different lengths, whose residuals are edited by prompt and position."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ato.errors import ModelError, SettingsError
from ato.models.cached_run import CachedRun, kept_keys_values
from ato.models.forward import Edit, Pass
from ato.models.language_model import LanguageModel, pad

PositionedEdit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(value [b, s, d], number of each row's prompt [b], positions of the tokens in their sequence [b, s]) -> value.

Positions are counted from the prompt's own first token, and go on through what is generated. Those of padding are -1;
values are meaningless there.
"""


@dataclass(frozen=True)
class GenerationEdit:
    """A change of the values at one place of the model, by the same rule for prompts and for generated tokens."""

    layer: int
    function: PositionedEdit
    site: str = "resid_post"
    """See ``SITES``."""
    first: np.ndarray | None = field(default=None, compare=False)
    """[prompts] int64: the function changes nothing before this position of each prompt; None: unknown. What is known
    saves time: prompts that are equal up to there share their passes, see ``prompt_ends``."""


@dataclass(frozen=True)
class PromptPass:
    """What a pass over b prompts gave, from which its rows can be continued."""

    run: CachedRun
    """Of the right-padded prompts, or of their last tokens; its keys and values are those of all blocks."""
    lengths: Tensor
    """[b] int64."""
    attention: dict[int, Tensor]
    """Layer -> [b, t, t] float32, averaged over the heads; for the layers asked for."""
    first: Tensor
    """[b] int64 position of the first token that ``run.hidden`` has; 0 where whole prompts were run."""

    @property
    def last(self) -> Tensor:
        """[b, d_model] hidden states behind the final norm of each prompt's last token."""
        row = torch.arange(len(self.lengths), device=self.lengths.device)
        return self.run.hidden[row, self.lengths - 1 - self.first]


def prompt_pass(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    numbers: Sequence[int],
    edits: Sequence[GenerationEdit] = (),
    *,
    attention: Collection[int] = (),
    keep_cache: bool = False,
    read: Collection[int] = (),
    unedited: PromptPass | None = None,
) -> PromptPass:
    """Run some prompts at once.

    Args:
        model: the model.
        prompts: token ids [t] of each, not empty.
        numbers: of the prompts, as edits are told.
        edits: what is changed, in this order.
        attention: layers whose attention weights are returned.
        keep_cache: keep keys and values; without effect for a model that ``caches`` nothing.
        read: layers whose residuals are kept, edits included.
        unedited: a pass of the same prompts without edits. If it kept the residuals of ``layer_below`` the edits, the
            blocks up to there are not run again; keys and values are then those of the blocks above.

    Raises:
        LayerError: a layer is not in the model.
        SettingsError: an unknown site, edits at several sites, or attention weights that the model does not make.
        ModelError: a prompt is empty or longer than the model's context.
    """
    check_prompts(model, prompts)
    model.check_attention(attention)
    input_ids, lengths = (x.to(model.device) for x in pad(prompts))
    position = torch.arange(input_ids.shape[1], device=model.device)
    real = position < lengths[:, None]  # [b, t]
    options = edits_at(model, edits, torch.as_tensor(list(numbers), device=model.device), position.where(real, -1))
    if keep_cache and caches(model):
        from transformers import DynamicCache

        # Made without the configuration, the cache keeps all tokens of sliding windows too.
        options |= {"cache": DynamicCache(), "position_ids": position[None]}
    below = None if unedited is None else layer_below(edits)
    if unedited is not None and below in unedited.run.residuals:
        options |= {"start": (below, unedited.run.residuals[below])}
    mask = None if bool(real.all()) else real.long()
    found: Pass = model.forward(input_ids, mask, attention=attention, read=read, **options)
    kept = kept_keys_values(options["cache"], -1) if "cache" in options else None
    run = CachedRun(input_ids, found.hidden, found.residuals, kept, torch.zeros_like(lengths))
    return PromptPass(run, lengths, found.attention, torch.zeros_like(lengths))


def layer_below(edits: Sequence[GenerationEdit]) -> int | None:
    """The highest layer whose residuals no edit changes before it is applied: their function is told these.

    None where the first block is edited inside, or nothing is.
    """
    lowest = min((edit.layer - (edit.site != "resid_post") for edit in edits), default=-1)
    return None if lowest < 0 else lowest


def caches(model: LanguageModel) -> bool:
    """Whether keys and values of this model's family are known to work in transformers' plain cache."""
    return model.parts.cache


def check_prompts(model: LanguageModel, prompts: Sequence[np.ndarray], more: int = 0) -> None:
    """Raise ModelError if a prompt is empty or leaves no place for so many more tokens."""
    if empty := [i for i, ids in enumerate(prompts) if not len(ids)]:
        raise ModelError("a prompt has no tokens", where=f"prompt {empty[0]}", cure="leave empty prompts out")
    longest = max(map(len, prompts), default=0)
    if longest + more > model.context_length:
        raise ModelError(
            f"a prompt of {longest} tokens and {more} more exceed the model's context of {model.context_length}",
            where=model.identity.model,
            cure="use shorter prompts",
        )


def edits_at(
    model: LanguageModel, edits: Sequence[GenerationEdit], numbers: Tensor, positions: Tensor
) -> dict[str, Any]:
    """Options of ``LanguageModel.forward`` for a pass of these rows [b] at these positions [b, s]."""
    if not edits:
        return {}
    model.check_layers(edit.layer for edit in edits)
    if len(sites := sorted({edit.site for edit in edits})) > 1:
        raise SettingsError(f"edits at the sites {' and '.join(sites)} at once", cure="use one site")
    chains: dict[int, list[PositionedEdit]] = {}
    for edit in edits:
        chains.setdefault(edit.layer, []).append(edit.function)

    def chained(functions: list[PositionedEdit]) -> Edit:
        def change(value: Tensor) -> Tensor:
            for function in functions:
                value = function(value, numbers, positions)
            return value

        return change

    return {"edits": {layer: chained(functions) for layer, functions in chains.items()}, "site": sites[0]}
