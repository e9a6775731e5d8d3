"""Forward passes that read, replace or start from residuals at chosen blocks.

Layer l is the residual stream after block l. Blocks whose output nobody asks for are bypassed: they hand their
input on, so that a pass costs only the blocks it needs, and every mask and position embedding is still made by the
model's own code.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ato.families import Parts

Edit = Callable[[Tensor], Tensor]
"""Residual [b, t, d] -> residual [b, t, d]."""


@dataclass(frozen=True)
class Pass:
    """What one forward pass gave."""

    hidden: Tensor
    """[b, t, d] behind the final norm; not meaningful when the blocks above the last read layer were bypassed."""
    residuals: dict[int, Tensor]
    """Layer -> [b, t, d], for the layers asked for, edits included."""


def run_blocks(
    parts: Parts,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    read: Collection[int] = (),
    edits: Mapping[int, Edit] | None = None,
    start: tuple[int, Tensor] | None = None,
    stop: int | None = None,
    tuple_outputs: bool = False,
) -> Pass:
    """Run the body of the model once.

    Args:
        parts: of the model.
        input_ids: [b, t], padded on the right.
        attention_mask: [b, t], 1 for tokens and 0 for padding.
        read: layers to return.
        edits: layer -> function that replaces the residual there.
        start: (layer, residual [b, t, d]): take this as the output of that block, and run only the blocks above.
        stop: last layer to run; default all.
        tuple_outputs: True if this model's blocks return tuples (transformers 4 does for some families).
    """
    n_layers = len(parts.blocks)
    first = 0 if start is None else start[0] + 1
    last = n_layers - 1 if stop is None else stop
    idle = [block for i, block in enumerate(parts.blocks) if not first <= i <= last]
    residuals: dict[int, Tensor] = {}
    with torch.no_grad(), ExitStack() as undo:
        undo.enter_context(_bypassed(idle, tuple_outputs))
        if start is not None:
            undo.enter_context(_edited(parts.blocks, {start[0]: start[1].to}))
        if edits:
            undo.enter_context(_edited(parts.blocks, edits))
        undo.enter_context(_read(parts.blocks, read, residuals))
        hidden = parts.body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return Pass(hidden, residuals)


def stream_of(output: object) -> Tensor:
    """The residual in a block's output: a tensor, or the first entry of a tuple."""
    return output[0] if isinstance(output, tuple) else output  # type: ignore[return-value]


@contextmanager
def _hooked(hooks: Iterable[tuple[nn.Module, Callable]]) -> Iterator[None]:
    with ExitStack() as undo:
        for module, hook in hooks:
            undo.callback(module.register_forward_hook(hook).remove)
        yield


def _read(blocks: nn.ModuleList, layers: Collection[int], into: dict[int, Tensor]):
    def hook_for(layer: int) -> Callable:
        def hook(module: nn.Module, args: object, output: object) -> None:
            into[layer] = stream_of(output)

        return hook

    return _hooked((blocks[layer], hook_for(layer)) for layer in layers)


def _edited(blocks: nn.ModuleList, edits: Mapping[int, Edit]):
    def hook_for(edit: Edit) -> Callable:
        def hook(module: nn.Module, args: object, output: object) -> object:
            stream = edit(stream_of(output))
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        return hook

    return _hooked((blocks[layer], hook_for(edit)) for layer, edit in edits.items())


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
