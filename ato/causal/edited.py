"""Edits of one sequence, and which of them are the same up to a position: what one has run the other need not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ato.causal.interventions import Intervention
from ato.models.cached_run import CachedRun


class SequenceLosses(NamedTuple):
    """What one intervention costs on one sequence: a row of ``EditLosses``."""

    n_edited: int
    log_ppl: float
    log_ppl_edited_onwards: float = np.nan
    clean_edited_onwards: float = np.nan
    kl: float = np.nan


@dataclass(eq=False)
class Edited:
    """One sequence of t tokens after an intervention; its losses are filled in by the pass that runs it."""

    intervention: Intervention
    losses: dict[Intervention, SequenceLosses]
    """Where its losses go."""
    mask: np.ndarray
    """[t] bool, the edited positions."""
    residual: Tensor
    """[t, d]."""
    begin: int = 0
    """The first position that is run."""
    parent: "Edited | None" = None
    """The edit whose tokens before ``begin`` are the same; None for the unedited sequence."""
    is_parent: bool = False
    place: tuple[CachedRun, int] | None = None
    """Of a parent that was run: the pass and its row there."""
    numbers: np.ndarray | None = None
    """[2, t-1-first] losses and KL from the first edited position on, once it was run."""

    @property
    def first(self) -> int:
        """The first edited position; behind the last one where none is edited."""
        return int(self.mask.argmax()) if self.mask.any() else len(self.mask)

    @property
    def to_run(self) -> Tensor:
        """[t-1-begin, d], up to the last position that something is predicted from."""
        return self.residual[self.begin : -1]


def share_prefixes(edits: Sequence[Edited]) -> None:
    """Note for each edit from where on it must be run, and behind which other one, if any.

    The same replacement at 10 and at 10, 50, 70 is one sequence up to position 49.
    """
    same: dict[tuple[str, int | None, int | None], list[Edited]] = {}
    for edit in edits:
        edit.begin = edit.first
        name = edit.intervention
        others = same.setdefault((name.name, name.source_layer, name.feature_id), [])
        for other in others:
            apart = np.flatnonzero(edit.mask[:-1] != other.mask[:-1])
            begin = int(apart[0]) if len(apart) else len(edit.mask) - 2  # at least one token is run
            if begin > edit.begin:
                edit.begin, edit.parent = begin, other
        if edit.parent is not None:
            edit.parent.is_parent = True
        others.append(edit)
