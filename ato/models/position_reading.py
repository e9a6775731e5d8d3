"""Residuals at a few positions of many prompts: only these leave the pass, so that memory is flat in the prompts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.errors import SettingsError
from ato.models.language_model import LanguageModel, pad
from ato.models.prompt_pass import check_prompts


@dataclass(frozen=True)
class PositionResiduals:
    """Residuals at n positions of one batch of prompts, ordered by prompt and then as the positions were given."""

    prompt: np.ndarray
    """[n] int64, number of the prompt."""
    position: np.ndarray
    """[n] int64, from 0, in the prompt's own tokens."""
    residuals: dict[int, np.ndarray]
    """Layer -> [n, d] float32."""


def read_positions(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    positions: Sequence[np.ndarray],
    layers: Iterable[int],
    *,
    batch_size: int = 32,
    site: str = "resid_post",
) -> Iterator[PositionResiduals]:
    """Read batch after batch, in the order of the prompts; blocks above the highest layer are not run.

    Args:
        model: the model.
        prompts: token ids [t] of each.
        positions: the positions to read of each prompt, none or more.
        layers: whose residuals are read.
        batch_size: prompts at a time.
        site: where in the blocks, see ``SITES``.

    Raises:
        LayerError: a layer is not in the model.
        ModelError: a prompt is empty or longer than the model's context.
        SettingsError: a position outside its prompt, or not one array of them for each prompt.
    """
    wanted = sorted(set(layers))
    model.check_layers(wanted)
    check_prompts(model, prompts)
    places = [np.asarray(of_one, dtype=np.int64).reshape(-1) for of_one in positions]
    if len(places) != len(prompts):
        raise SettingsError(f"{len(places)} arrays of positions for {len(prompts)} prompts", cure="give one for each")
    for i, (ids, place) in enumerate(zip(prompts, places)):
        if len(place) and not 0 <= place.min() <= place.max() < len(ids):
            problem = f"positions {place.tolist()} of a prompt of {len(ids)} tokens"
            raise SettingsError(problem, where=f"prompt {i}", cure="count from 0 to the last token")
    return _batches(model, prompts, places, wanted, (batch_size, site))


def _batches(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    places: list[np.ndarray],
    layers: list[int],
    how: tuple[int, str],
) -> Iterator[PositionResiduals]:
    batch_size, site = how
    for start in range(0, len(prompts), batch_size):
        # A prompt is run no further than to its last position: in a causal model nothing behind it matters.
        own = [i for i in range(start, min(start + batch_size, len(prompts))) if len(places[i])]
        if not own:
            continue
        counts = [len(places[i]) for i in own]
        position = np.concatenate([places[i] for i in own])
        row = torch.from_numpy(np.repeat(np.arange(len(own)), counts)).to(model.device)
        column = torch.from_numpy(position).to(model.device)

        def keep(layer: int, value: Tensor, row: Tensor = row, column: Tensor = column) -> Tensor:
            return value[row, column].float()

        batch = pad([prompts[i][: int(places[i].max()) + 1] for i in own])
        found = model.read(*batch, layers, site=site, keep=keep).residuals
        yield PositionResiduals(
            np.repeat(own, counts), position, {layer: value.cpu().numpy() for layer, value in found.items()}
        )
