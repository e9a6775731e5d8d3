"""Forward passes that read, replace or start from residuals at chosen blocks.

Layer l is the residual stream after block l. Blocks whose output nobody asks for are bypassed: they hand their
input on, so that a pass costs only the blocks it needs, and every mask and position embedding is still made by the
model's own code.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ato.errors import SettingsError
from ato.models.families import ModelParts
from ato.models.sites import SITES

Edit = Callable[[Tensor], Tensor]
"""Residual [b, t, d] -> residual [b, t, d]."""
Keep = Callable[[int, Tensor], Tensor]
"""What is kept of the value [b, t, d] read at a layer, said while it is still in the cache."""
KeepAt = Callable[[str, int, Tensor], Tensor]
"""The same of a value read at a site and a layer."""

_READ_BEFORE = {"attn_z": "projection", "mlp_in": "mlp", "mlp_neurons": "mlp_projection"}
"""Sites that are what a part is given, and that part."""


@dataclass(frozen=True)
class Pass:
    """What one forward pass gave."""

    hidden: Tensor
    """[b, t, d] behind the final norm; not meaningful when the blocks above the last read layer were bypassed."""
    residuals: dict[int, Tensor]
    """Layer -> [b, t, d] at the site, for the layers asked for, edits included."""
    attention: dict[int, Tensor] = field(default_factory=dict)
    """Layer -> [b, t, t] float32 attention weights from each token (second axis), averaged over the heads."""
    beside: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    """Site -> layer -> [b, t, d], for what was read beside the first site."""


def run_blocks(
    parts: ModelParts,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    *,
    read: Collection[int] = (),
    edits: Mapping[int, Edit] | None = None,
    start: tuple[int, Tensor] | None = None,
    stop: int | None = None,
    tuple_outputs: bool = False,
    site: str = "resid_post",
    attention: Collection[int] = (),
    keep: Keep | None = None,
    beside: Mapping[str, Collection[int]] | None = None,
    keep_beside: KeepAt | None = None,
    cache: Any = None,
    position_ids: Tensor | None = None,
    bypass_below: bool = True,
    gradients: bool = False,
) -> Pass:
    """Run the body of the model once.

    Args:
        parts: of the model.
        input_ids: [b, t], padded on the right.
        attention_mask: [b, t], 1 for tokens and 0 for padding; None where there is no padding.
        read: layers to return.
        edits: layer -> function that replaces the value there.
        start: (layer, residual [b, t, d]): take this as the output of that block, and run only the blocks above.
        stop: last layer to run; default all.
        tuple_outputs: True if this model's blocks return tuples (transformers 4 does for some families).
        site: where in the blocks ``read`` and ``edits`` apply; see ``SITES``. ``start`` is always ``resid_post``.
        attention: layers whose attention weights are returned.
        keep: makes what is returned of each value that is read; default the value itself.
        beside: other site -> layers that are read there in the same pass.
        keep_beside: makes what is returned of each of these values; default the value itself.
        cache: transformers' cache of keys and values; what it holds is attended to, what is run is added to it.
        position_ids: [b or 1, t] positions of the tokens, needed with a cache.
        bypass_below: False where blocks above ``start`` use more of those below than the residual (Gemma 4's shared keys
            and values): they are run too, on the given ids, and their residual is replaced.
        gradients: record the pass, so that gradients with respect to what ``edits`` and ``start`` hand in can be taken.

    Raises:
        SettingsError: an unknown site, or attention weights that the model does not make.
        ModelError: the model's blocks have no such site.
    """
    n_layers = len(parts.blocks)
    first = 0 if start is None or not bypass_below else start[0] + 1
    last = n_layers - 1 if stop is None else stop
    idle = [block for i, block in enumerate(parts.blocks) if not first <= i <= last]
    residuals: dict[int, Tensor] = {}
    weights: dict[int, Tensor] = {}
    others: dict[str, dict[int, Tensor]] = {other: {} for other in beside or {}}
    with torch.set_grad_enabled(gradients), ExitStack() as undo:
        undo.enter_context(_bypassed(idle, tuple_outputs))
        if start is not None:
            undo.enter_context(_edited(parts, {start[0]: start[1].to}, "resid_post", input_ids.shape))
        if edits:
            undo.enter_context(_edited(parts, edits, site, input_ids.shape))
        undo.enter_context(_read(parts, read, site, residuals, keep, input_ids.shape))
        for other, layers in (beside or {}).items():
            keep_there = None if keep_beside is None else partial(keep_beside, other)
            undo.enter_context(_read(parts, layers, other, others[other], keep_there, input_ids.shape))
        undo.enter_context(_attention_read(parts, attention, weights))
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": cache is not None}
        if cache is not None:
            inputs |= {"past_key_values": cache, "position_ids": position_ids}
        hidden = parts.body(**inputs).last_hidden_state
    return Pass(hidden, residuals, weights, others)


def stream_of(output: object) -> Tensor:
    """The residual in a block's output: a tensor, or the first entry of a tuple."""
    return output[0] if isinstance(output, tuple) else output  # type: ignore[return-value]


@contextmanager
def _hooked(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    with ExitStack() as undo:
        for hook in hooks:
            undo.callback(hook.remove)
        yield


def _hook(
    parts: ModelParts, layer: int, site: str, function: Callable[[Tensor], Tensor | None], shape: torch.Size
) -> RemovableHandle:
    """Call a function of the value [b, t, d] that passes a site; what it returns, unless None, passes on instead.

    Some modules are given their tokens as one row [b * t, d], and what some give is multiplied when it is added: the
    function is told what is added, of the shape (b, t).
    """
    if site not in SITES:
        raise SettingsError(f"unknown site {site!r}", cure=f"choose from {', '.join(SITES)}")
    times = parts.multiplier(layer) if site in ("attn_out", "mlp_out") else 1.0

    def changed(value: Tensor) -> Tensor | None:
        whole = value if value.dim() == 3 else value.reshape(*shape, value.shape[-1])
        # Blocks of an unknown family may write into what they were given (Falcon adds attention to the MLP's output).
        whole = whole if parts.known or site == "resid_post" else whole.clone()
        new = function(whole if times == 1 else whole * times)
        if new is None:
            return None
        new = (new if times == 1 else new / times).reshape(value.shape)
        return new if parts.known else new.clone()

    if site in _READ_BEFORE:

        def before(module: nn.Module, args: tuple) -> object:
            new = changed(args[0])
            return None if new is None else (new, *args[1:])

        return parts.submodule(layer, _READ_BEFORE[site]).register_forward_pre_hook(before)

    def after(module: nn.Module, args: object, output: object) -> object:
        new = changed(stream_of(output))
        if new is None:
            return None
        return (new, *output[1:]) if isinstance(output, tuple) else new

    module = parts.blocks[layer] if site == "resid_post" else parts.submodule(layer, site)
    return module.register_forward_hook(after)


def _read(
    parts: ModelParts,
    layers: Collection[int],
    site: str,
    into: dict[int, Tensor],
    keep: Keep | None,
    shape: torch.Size,
):
    def read_at(layer: int) -> Callable[[Tensor], None]:
        def read(value: Tensor) -> None:
            into[layer] = value if keep is None else keep(layer, value)

        return read

    return _hooked(_hook(parts, layer, site, read_at(layer), shape) for layer in layers)


def _edited(parts: ModelParts, edits: Mapping[int, Edit], site: str, shape: torch.Size):
    return _hooked(_hook(parts, layer, site, edit, shape) for layer, edit in edits.items())


def _attention_read(parts: ModelParts, layers: Collection[int], into: dict[int, Tensor]):
    def hook_for(layer: int) -> Callable:
        def hook(module: nn.Module, args: object, output: object) -> None:
            weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if weights is None:
                raise eager_needed(f"block {layer}")
            into[layer] = weights.float().mean(1)  # the heads are forgotten at once: [b, heads, t, t] is large

        return hook

    return _hooked(parts.submodule(layer, "attention").register_forward_hook(hook_for(layer)) for layer in layers)


@contextmanager
def _bypassed(blocks: Collection[nn.Module], tuple_outputs: bool) -> Iterator[None]:
    """Let blocks hand their input on. The block objects stay, since models read attributes of them."""

    def hand_on(hidden_states: Tensor, *args: object, **kwargs: object) -> object:
        return (hidden_states,) if tuple_outputs else hidden_states

    own = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.__dict__["forward"] = hand_on
    try:
        yield
    finally:
        for block, forward in zip(blocks, own):
            if forward is None:
                del block.__dict__["forward"]
            else:
                block.__dict__["forward"] = forward


def eager_needed(where: object) -> SettingsError:
    """The error of a model whose attention weights cannot be read, since its fused attention never makes them."""
    return SettingsError("the model does not return attention weights", where=where, cure="--set model.attention=eager")
