"""The check of a site on its first use: what attention and MLP are said to add is what blocks add.

A block must leave behind ``block_scale * (in + attn_out + mlp_out + beside)``, see ``ato.models.layouts``, up to the rounding
of these additions, at every number of the stream. ``attn_z`` must be what the attention's output projection makes its
output of, and ``mlp_neurons`` what the MLP's does; ``mlp_in`` must be as wide as the stream, and the MLP's output what the
block adds. A family whose parts do not add up is refused for these sites, never read wrongly.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ato.errors import ModelError
from ato.models.families import ModelParts, guessed_layouts
from ato.models.forward import stream_of

_ROUNDINGS = 2
"""Units in the last place of each term that a sum may differ by: twice what rounding can do."""
PROJECTED = {
    "attn_z": ("projection", "attention", "attn_out"),
    "mlp_neurons": ("mlp_projection", "mlp", "mlp_out"),
}
"""Sites that a projection reads: that projection, and the parts one of which must return what it gives."""
_CURE = "use the site resid_post, or a model of a family in docs/models.md"


@dataclass
class _Seen:
    """Values [1, t, d] of one pass at one block."""

    entered: Tensor | None = None
    left: Tensor | None = None
    given: dict[str, Tensor] = field(default_factory=dict)
    """Name of a part -> its output."""
    read: Tensor | None = None
    """What the MLP was given."""


def checked_parts(
    parts: ModelParts, site: str, layers: Collection[int], run: Callable[[int], object], where: str
) -> ModelParts:
    """A model's parts, after the check that the site is read correctly at these layers.

    Of a family that is not in the register, the first layout by common names that passes is in them.

    Args:
        parts: of the model.
        site: ``attn_out``, ``mlp_in``, ``mlp_out``, ``attn_z`` or ``mlp_neurons``.
        layers: at least one.
        run: runs the model on one short text, up to this layer.
        where: the model's name, for messages.

    Raises:
        ModelError: a block lacks the site, or its parts do not add up.
    """
    wanted = sorted(layers)
    layout = parts.layout
    part = {"attn_z": "projection", "mlp_in": "mlp", "mlp_neurons": "mlp_projection"}.get(site, site)
    if layout is None or not getattr(layout, part):
        kind = type(parts.blocks[0]).__name__
        what = f"{site} is not read" if layout is not None and layout.attn_out else "only resid_post is read"
        refusal = f"{what} in blocks of the kind {kind}"
        raise ModelError(refusal, where=where, cure="use the site resid_post")
    # Every guess has the same projections: which of them is right only the sum can tell.
    guesses = (
        [] if parts.known or site in PROJECTED else [replace(parts, layout=guess) for guess in guessed_layouts(parts)]
    )
    problems: list[str] = []
    for candidate in [parts, *(guess for guess in guesses if getattr(guess.layout, part))]:
        problem = _problem(candidate, site, wanted, run)
        if problem is None:
            return candidate
        problems.append(problem)
    raise ModelError(f"self-check failed: {problems[0]}", where=where, cure=_CURE)


def _problem(parts: ModelParts, site: str, layers: list[int], run: Callable[[int], object]) -> str | None:
    """What is wrong with a site at some layers, as words; None if nothing is."""
    assert parts.layout is not None
    projected = PROJECTED.get(site)
    if projected and getattr(parts.layout, projected[2]) == getattr(parts.layout, projected[0]):
        site, projected = projected[2], None  # the projection compared with itself says nothing; the sum does
    of_sum = "mlp_out" if site == "mlp_in" else site
    names = projected or (of_sum, *({"attn_out", "mlp_out"} - {of_sum}))
    seen = {layer: _Seen() for layer in layers}
    with _watched(parts, seen, names):
        run(layers[-1])
    for layer in layers:
        block = seen[layer]
        needed = names[:1] if projected else names
        if missing := [name for name in needed if name not in block.given]:
            return f"{missing[0]} of block {layer} is never run on its own"
        problem = _projection_problem(layer, block, projected) if projected else _sum_problem(parts, layer, block)
        if problem is None and site == "mlp_in":
            problem = _reading_problem(layer, block)
        if problem is not None:
            return problem
    return None


def _reading_problem(layer: int, seen: _Seen) -> str | None:
    """The MLP must be given one value of the stream's width."""
    assert seen.entered is not None
    if seen.read is not None and seen.read.shape[-1] == seen.entered.shape[-1]:
        return None
    found = "no tensor by position" if seen.read is None else f"{seen.read.shape[-1]} numbers a token"
    return f"the MLP of block {layer} is given {found}, not the normalised stream"


def _sum_problem(parts: ModelParts, layer: int, seen: _Seen) -> str | None:
    layout = parts.layout
    assert layout is not None
    assert seen.entered is not None
    assert seen.left is not None
    times = parts.multiplier(layer)
    added = [seen.given[name].double() * times for name in ("attn_out", "mlp_out")]
    terms = [
        seen.entered.double(),
        *added,
        *(seen.given[path].double() for path in layout.beside if path in seen.given),
    ]
    scale = float(getattr(parts.blocks[layer], layout.block_scale)) if layout.block_scale else 1.0
    left = seen.left.double()
    error = (left - scale * torch.stack(terms).sum(0)).abs()
    size = left.abs() + abs(scale) * torch.stack(terms).abs().sum(0)
    if bool((error <= _ROUNDINGS * torch.finfo(seen.left.dtype).eps * size).all()):
        return None
    relative = float(error.norm() / (abs(scale) * torch.stack(added).sum(0)).norm().clamp_min(1e-300))
    return (
        f"what attention ({layout.attn_out}) and MLP ({layout.mlp_out}) of block {layer} give does not add up to what the "
        f"block adds: off by {relative:.2g} of it"
    )


def _projection_problem(layer: int, seen: _Seen, names: tuple[str, str, str]) -> str | None:
    """The projection must give what attention, or the MLP, returns, or what is added to the stream."""
    projection, *others = names
    made = seen.given[projection]
    if any(name in seen.given and torch.equal(made, seen.given[name]) for name in others):
        return None
    whose = "attention" if projection == "projection" else "the MLP"
    return f"the output projection of {whose} in block {layer} does not give its output"


@contextmanager
def _watched(parts: ModelParts, seen: dict[int, _Seen], names: tuple[str, ...]) -> Iterator[None]:
    """Within it, passes note what enters and leaves blocks and what parts of them give."""
    assert parts.layout is not None
    with ExitStack() as undo:
        for layer, block in seen.items():
            module = parts.blocks[layer]

            def entered(_: nn.Module, args: tuple, kwargs: dict, block: _Seen = block) -> None:
                block.entered = (args[0] if args else kwargs["hidden_states"]).clone()

            def left(_: nn.Module, args: object, output: object, block: _Seen = block) -> None:
                block.left = stream_of(output).clone()

            undo.callback(module.register_forward_pre_hook(entered, with_kwargs=True).remove)
            undo.callback(module.register_forward_hook(left).remove)
            if parts.has(layer, "mlp"):

                def read(_: nn.Module, args: tuple, block: _Seen = block) -> None:
                    block.read = args[0] if args and isinstance(args[0], Tensor) else None

                undo.callback(parts.submodule(layer, "mlp").register_forward_pre_hook(read).remove)
            own = {name: parts.submodule(layer, name) for name in names if name == names[0] or parts.has(layer, name)}
            own |= {path: part for path in parts.layout.beside if (part := getattr(module, path, None)) is not None}
            for name, part in own.items():

                def gave(_: nn.Module, args: object, output: object, name: str = name, block: _Seen = block) -> None:
                    value = stream_of(output)
                    block.given[name] = value.reshape(1, -1, value.shape[-1]).clone()

                undo.callback(part.register_forward_hook(gave).remove)
        yield
