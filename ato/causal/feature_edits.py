"""Edits of SAE features in the running model: clamped, moved, scaled or ablated, the SAE's error staying in place.

An edit of feature j by delta makes x + delta W_dec[j] of a value x: its activation a_j(x) is read by the SAE's own encoder,
and nothing is reconstructed, so that what the SAE does not explain stays as it is. The same rule holds for tokens of
the prompt and for generated ones, with and without a cache.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from ato.errors import SAEError, SettingsError
from ato.models.prompt_pass import GenerationEdit
from ato.saes.autoencoder import SparseAutoencoder

HOWS = ("to", "add", "scale", "ablate")
"""delta of an activation a by an amount c: c - a, c, (c - 1) a, -a."""
UNITS = ("activation", "norm", "maximum")
"""Of the amount: activations as they are; norms of the value at the position; largest activations of the feature."""
PARTS = ("all", "prompt", "generated")
"""Which tokens are edited: never a sequence's first, nor special tokens of the prompt."""


@dataclass(frozen=True, eq=False)
class FeatureEdit:
    """What is done to one feature.

    Raises:
        SAEError: the SAE has no such feature, or its decoder row is 0.
        SettingsError: an unknown kind or unit, or an amount that does not go with them.
    """

    sae: SparseAutoencoder
    layer: int
    feature_id: int
    how: str = "to"
    """One of ``HOWS``."""
    amount: float = 0.0
    unit: str = "activation"
    """One of ``UNITS``; an amount of c norms moves the value by c times its norm, along the decoder row."""
    maximum: float | None = None
    """Largest activation of the feature on ordinary text, for the unit of that name."""
    site: str = "resid_post"
    direction: Tensor | None = None
    """[d_in] moves the value instead of the decoder row, scaled to that row's length: a control."""

    def __post_init__(self) -> None:
        if not 0 <= self.feature_id < self.sae.d_sae:
            cure = f"use features 0 to {self.sae.d_sae - 1}"
            raise SAEError(f"the SAE has no feature {self.feature_id}", where=f"layer {self.layer}", cure=cure)
        for what, given, known in (("edit", self.how, HOWS), ("unit", self.unit, UNITS)):
            if given not in known:
                raise SettingsError(
                    f"unknown {what} {given!r}", where=self.name, cure=f"choose from {', '.join(known)}"
                )
        if not isfinite(self.amount):
            raise SettingsError(f"an amount of {self.amount}", where=self.name, cure="use a finite number")
        if self.how == "ablate" and self.amount:
            raise SettingsError(f"an ablation by {self.amount:g}", where=self.name, cure="leave the amount out")
        if self.how in ("scale", "ablate") and self.unit != "activation":
            raise SettingsError(f"{self.how} has no unit", where=self.name, cure="leave the unit out")
        if self.unit == "maximum" and not (self.maximum is not None and 0 < self.maximum < float("inf")):
            cure = "give the amount in activations or in norms"
            raise SettingsError("the feature's largest activation is not known", where=self.name, cure=cure)
        if not float(self.sae.decoder_norms[self.feature_id]) > 0:
            raise SAEError("the feature's decoder row is 0", where=self.name, cure="choose another feature")

    @property
    def name(self) -> str:
        """Such as ``L12/345``."""
        return f"L{self.layer}/{self.feature_id}"

    @property
    def row(self) -> Tensor:
        """[d_in] what the value is moved along by a delta of 1."""
        own = self.sae.W_dec[self.feature_id]
        return own if self.direction is None else self.direction.to(own) / self.direction.norm() * own.norm()

    def delta(self, activation: Tensor, norm: Tensor) -> Tensor:
        """By how much the activation is moved, [n].

        Args:
            activation: [n] of the feature.
            norm: [n] of the values.
        """
        if self.how in ("scale", "ablate"):
            return (self.amount - 1) * activation if self.how == "scale" else -activation
        size: Tensor | float = 1.0
        if self.unit == "norm":
            size = norm / self.sae.decoder_norms[self.feature_id]
        elif self.unit == "maximum":
            assert self.maximum is not None
            size = self.maximum
        return self.amount * size - (activation if self.how == "to" else 0.0) + torch.zeros_like(activation)

    def along(self, direction: np.ndarray) -> "FeatureEdit":
        """The same edit along another direction [d_in]: a control that moves the value as far."""
        return replace(self, direction=torch.from_numpy(np.asarray(direction, dtype=np.float32)))


def on_device(edits: Sequence[FeatureEdit], device: torch.device | str) -> list[FeatureEdit]:
    """The same edits on another device; those of one SAE share it there too."""
    saes = {id(edit.sae): edit.sae for edit in edits}
    moved = {number: sae.to(device) for number, sae in saes.items()}
    return [replace(edit, sae=moved[id(edit.sae)]) for edit in edits]


def edited(x: Tensor, edits: Sequence[FeatureEdit]) -> Tensor:
    """Values x [n, d_in] of one place after edits of features there: x + sum over edits of delta row.

    Every delta is read from the same x: the order of the edits changes nothing. Sums are made in float32 at least and
    rounded to the precision of x once.
    """
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    norm, moved, activations = exact.norm(dim=-1), exact, dict[int, Tensor]()
    for edit in edits:
        if id(edit.sae) not in activations:
            activations[id(edit.sae)] = edit.sae.encode(exact).to(exact)
        delta = edit.delta(activations[id(edit.sae)][:, edit.feature_id], norm)
        moved = moved + delta[:, None] * edit.row.to(exact)
    return moved.to(x.dtype)


@dataclass(frozen=True, eq=False)
class EditedTokens:
    """Which tokens of some prompts, and of what is generated behind them, are edited.

    The first token of a sequence is left alone, as it carries massive activations, and so are special tokens of the
    prompt.

    Raises:
        SettingsError: an unknown part.
    """

    prompts: Sequence[np.ndarray]
    special_ids: Collection[int] = ()
    part: str = "all"
    """One of ``PARTS``."""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise SettingsError(f"unknown tokens {self.part!r}", cure=f"choose from {', '.join(PARTS)}")

    def mask(self, rows: Tensor, positions: Tensor) -> Tensor:
        """[b, s] bool of positions [b, s] of the prompts rows [b]; padding, below 0, is never meant."""
        found = [self.of(number, at) for number, at in zip(rows.tolist(), positions.cpu().numpy())]
        return torch.from_numpy(np.stack(found)).to(positions.device)

    def of(self, number: int, positions: np.ndarray) -> np.ndarray:
        """[s] bool of positions [s] of one prompt and what follows it."""
        ids = np.asarray(self.prompts[number])
        inside = (positions >= 0) & (positions < len(ids))
        special = np.isin(ids, list(self.special_ids))
        kept = (positions > 0) & ~(inside & special[positions.clip(0, len(ids) - 1)])
        return kept if self.part == "all" else kept & (inside if self.part == "prompt" else positions >= len(ids))

    def first(self) -> np.ndarray:
        """[prompts] int64: the first edited position of each; of a prompt without one, the first behind it."""
        masks = [self.of(i, np.arange(len(ids))) for i, ids in enumerate(self.prompts)]
        return np.array([int(mask.argmax()) if mask.any() else len(mask) for mask in masks], dtype=np.int64)


def placed_edits(edits: Sequence[FeatureEdit], tokens: EditedTokens) -> list[GenerationEdit]:
    """Edits of a model, one a layer, for ``generate`` and for passes over prompts; lower layers come first.

    Raises:
        SettingsError: a feature is edited twice, or features of several sites at once.
    """
    places: dict[tuple[int, str], list[FeatureEdit]] = {}
    for edit in edits:
        here = places.setdefault((edit.layer, edit.site), [])
        if any(other.feature_id == edit.feature_id and other.sae is edit.sae for other in here):
            raise SettingsError("a feature is edited twice", where=edit.name, cure="name each feature once")
        here.append(edit)
    if len(sites := sorted({site for _, site in places})) > 1:
        raise SettingsError(f"features of the sites {' and '.join(sites)} at once", cure="edit one site")
    first = tokens.first()
    return [_placed(places[place], tokens, first) for place in sorted(places)]


def _placed(edits: Sequence[FeatureEdit], tokens: EditedTokens, first: np.ndarray) -> GenerationEdit:
    def function(value: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        mask = tokens.mask(rows, positions)
        if not bool(mask.any()):
            return value
        changed = value.clone()
        changed[mask] = edited(value[mask], edits)
        return changed

    return GenerationEdit(edits[0].layer, function, edits[0].site, first)
