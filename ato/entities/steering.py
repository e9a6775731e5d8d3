"""Changes of the residual along directions, at the positions of a prompt that a mode names.

A change makes a new value of x [..., d]; ``placed`` makes of it an edit of a model, at the positions of a mode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.entities.names import POSITION_MODES
from ato.errors import SettingsError
from ato.models.prompt_pass import GenerationEdit

Change = Callable[[Tensor], Tensor]
"""Value [..., d] -> value [..., d]."""

NEVER = np.iinfo(np.int64).max
"""A position that no sequence has."""


def unit(vector: Tensor | np.ndarray) -> Tensor:
    """A vector [d] scaled to length 1, float32.

    Raises:
        SettingsError: its length is 0 or not finite, or it is no vector.
    """
    given = torch.as_tensor(vector).detach().to(torch.float32)
    length = float(given.norm())
    if given.ndim != 1 or not 0 < length < float("inf"):
        problem = f"a direction of shape {list(given.shape)} and length {length:g}"
        raise SettingsError(problem, cure="give one vector with a finite, positive length")
    return given / given.norm()


@dataclass(frozen=True, eq=False)
class Steer:
    """x + c |x| u: the strength c is in units of the residual's norm at each position, or of ``norm`` where given."""

    direction: Tensor
    """[d]; u is this scaled to length 1."""
    strength: float
    norm: float | None = None
    """Stands for |x| at every position, for example its median over a corpus."""

    def __call__(self, x: Tensor) -> Tensor:
        """The changed value [..., d]."""
        u, exact = _like(self.direction, x), _exact(x)
        norm = exact.norm(dim=-1, keepdim=True) if self.norm is None else self.norm
        return (exact + self.strength * norm * u).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Ablate:
    """x - (x . u) u: nothing is left along the direction."""

    direction: Tensor
    """[d]; u is this scaled to length 1."""

    def __call__(self, x: Tensor) -> Tensor:
        """The changed value [..., d]."""
        u, exact = _like(self.direction, x), _exact(x)
        return (exact - (exact @ u)[..., None] * u).to(x.dtype)


@dataclass(frozen=True)
class Places:
    """The positions that a mode names in each of n prompts.

    Raises:
        SettingsError: an unknown mode, or a span that is empty or outside its prompt.
    """

    mode: str
    """One of ``POSITION_MODES``."""
    lengths: Sequence[int]
    """Tokens of each prompt."""
    spans: Sequence[tuple[int, int]] = ()
    """(first token, token behind the last) of each prompt's entity; not needed for ``all`` and ``question_end``."""

    def __post_init__(self) -> None:
        if self.mode not in POSITION_MODES:
            raise SettingsError(f"unknown positions {self.mode!r}", cure=f"choose from {', '.join(POSITION_MODES)}")
        if not self.mode.startswith("entity"):
            return
        if len(self.spans) != len(self.lengths):
            raise SettingsError(f"{len(self.spans)} entity spans for {len(self.lengths)} prompts", cure="give one each")
        for i, ((first, end), length) in enumerate(zip(self.spans, self.lengths)):
            if not 0 <= first < end <= length:
                problem = f"an entity of tokens {first} to {end} in a prompt of {length}"
                raise SettingsError(problem, where=f"prompt {i}", cure="leave the prompt out")

    @property
    def intervals(self) -> np.ndarray:
        """[n, 2] int64: first position and the one behind the last."""
        length = np.asarray(self.lengths, dtype=np.int64)
        if self.mode == "all":
            return np.stack([np.ones_like(length), np.full_like(length, NEVER)], axis=1)
        if self.mode == "question_end":
            return np.stack([length - 1, length], axis=1)
        first, end = np.asarray(self.spans, dtype=np.int64).reshape(-1, 2).T
        return {
            "entity": np.stack([first, end], axis=1),
            "entity_first": np.stack([first, first + 1], axis=1),
            "entity_last": np.stack([end - 1, end], axis=1),
            "entity_to_end": np.stack([first, length], axis=1),
            "entity_last_to_end": np.stack([end - 1, length], axis=1),
        }[self.mode]

    def mask(self, rows: Tensor, positions: Tensor) -> Tensor:
        """[b, s] bool of positions [b, s] of the prompts rows [b]; padding, below 0, is never meant."""
        first, end = torch.from_numpy(self.intervals).to(positions.device)[rows].T
        return (positions >= first[:, None]) & (positions < end[:, None])


def placed(change: Change, places: Places, layer: int, site: str = "resid_post") -> GenerationEdit:
    """An edit of a model: a change at the named positions; everything else passes bit-equal."""

    def function(value: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        mask = places.mask(rows, positions)
        return torch.where(mask[..., None], change(value), value) if bool(mask.any()) else value

    return GenerationEdit(layer, function, site, places.intervals[:, 0])


def placed_by_row(
    changes: Sequence[Change | None], places: Places, layer: int, site: str = "resid_post"
) -> GenerationEdit:
    """An edit that changes prompt i by changes[i], None leaving it as it is: several interventions in one batch."""
    distinct = list(dict.fromkeys(change for change in changes if change is not None))
    number = {change: i for i, change in enumerate(distinct)}
    of_prompt = torch.tensor([-1 if change is None else number[change] for change in changes])

    def function(value: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        own, mask = of_prompt.to(rows.device)[rows], places.mask(rows, positions)
        if not bool(mask.any()):
            return value
        changed = value.clone()
        for i in own.unique().tolist():
            here = own == i
            if i >= 0 and bool(mask[here].any()):
                changed[here] = torch.where(mask[here][..., None], distinct[i](value[here]), value[here])
        return changed

    first = np.where(of_prompt.numpy() >= 0, places.intervals[:, 0], NEVER)
    return GenerationEdit(layer, function, site, first)


def _exact(x: Tensor) -> Tensor:
    """In float32 at least: a small change of a large value would be rounded away."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _like(direction: Tensor, x: Tensor) -> Tensor:
    return unit(direction).to(_exact(x))
