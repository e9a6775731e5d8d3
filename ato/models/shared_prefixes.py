"""The last tokens of edited prompts: what no edit can change is run once for all prompts that are equal.

1. Equal prompts of a batch are run once, unedited, with keys and values of all blocks and the residuals of the last
   layer below the edits.
2. Each prompt is run again from the first position that its edits change, above that layer only: these tokens begin with
   the residuals of step 1, and attend to its keys and values.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ato.models.cached_run import CachedRun, kept_keys_values
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, PromptPass, caches, check_prompts, edits_at, layer_below, prompt_pass


def prompt_ends(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    numbers: Sequence[int],
    edits: Sequence[GenerationEdit] = (),
    *,
    keep_cache: bool = False,
) -> PromptPass:
    """``prompt_pass`` for those who ask for last tokens, and keys and values, only: the same up to rounding.

    Work is shared where all edits tell their ``first``, the model ``caches``, and there are enough
    equal prompts for it to be less.

    Args:
        model: the model.
        prompts: token ids [t] of each, not empty.
        numbers: of the prompts, as edits are told.
        edits: what is changed, in this order.
        keep_cache: keep keys and values, as ``prompt_pass``.

    Raises:
        LayerError, SettingsError, ModelError: as ``prompt_pass``.
    """
    check_prompts(model, prompts)
    first = first_positions(prompts, numbers, edits)
    if first is None or not caches(model):
        return prompt_pass(model, prompts, numbers, edits, keep_cache=keep_cache)
    edits_at(model, edits, torch.empty(0), torch.empty(0))  # refuses what is wrong
    distinct: dict[bytes, int] = {}
    places = [distinct.setdefault(_bytes(ids), len(distinct)) for ids in prompts]
    whole = [prompts[places.index(place)] for place in range(len(distinct))]
    lengths, below = np.array([len(ids) for ids in prompts]), layer_below(edits)
    share = 1.0 if below is None else 1 - (below + 1) / model.n_layers  # of the blocks are run for the last tokens
    if sum(map(len, whole)) + share * (lengths - first).sum() >= lengths.sum():
        return prompt_pass(model, prompts, numbers, edits, keep_cache=keep_cache)
    plain = prompt_pass(model, whole, range(len(whole)), keep_cache=True, read=[] if below is None else [below])
    rows, start, told = (torch.as_tensor(np.asarray(x), device=model.device) for x in (places, first, numbers))
    return _edited_ends(model, plain, (rows, start, told), edits, keep_cache)


def first_positions(
    prompts: Sequence[np.ndarray], numbers: Sequence[int], edits: Sequence[GenerationEdit]
) -> np.ndarray | None:
    """[b] int64: first position of each prompt that an edit changes, or its last; None if unknown or without edits."""
    firsts = [edit.first[list(numbers)] for edit in edits if edit.first is not None]
    if not firsts or len(firsts) < len(edits):
        return None
    earliest: np.ndarray = np.minimum.reduce(firsts)
    return np.minimum(earliest, [len(ids) - 1 for ids in prompts])


def sharing_batches(
    prompts: Sequence[np.ndarray], edits: Sequence[GenerationEdit], batch_size: int
) -> Iterator[list[int]]:
    """Numbers of prompts that are run at once: equal prompts together, and tokens to run and lengths alike."""
    first = first_positions(prompts, range(len(prompts)), edits)
    if first is None:
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    else:
        order = sorted(
            range(len(prompts)), key=lambda i: (len(prompts[i]) - first[i], len(prompts[i]), _bytes(prompts[i]))
        )
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _bytes(ids: np.ndarray) -> bytes:
    return np.asarray(ids, dtype=np.int64).tobytes()


def _edited_ends(
    model: LanguageModel,
    plain: PromptPass,
    rows: tuple[Tensor, Tensor, Tensor],
    edits: Sequence[GenerationEdit],
    keep_cache: bool,
) -> PromptPass:
    """Edited prompts from a position on; rows are (place in the unedited pass, that position, number) [b] each."""
    (places, first, numbers), run, below = rows, plain.run, layer_below(edits)
    lengths = plain.lengths[places]
    behind = first[:, None] + torch.arange(int((lengths - first).max()), device=first.device)  # [b, s] positions
    inside = behind.clamp(max=run.input_ids.shape[1] - 1)
    options = edits_at(model, edits, numbers, behind.where(behind < lengths[:, None], -1))
    lowest = -1 if below is None else below
    if below is not None:
        options |= {"start": (below, run.residuals[below][places[:, None], inside])}
    above = {layer: kept for layer, kept in (run.keys_values or {}).items() if layer > lowest}
    prefixes = CachedRun(run.input_ids, run.hidden, {}, above, run.start).prefixes(places, first, model.n_layers)
    mask, ids = prefixes.mask(behind.shape[1]), run.input_ids[places[:, None], inside]
    found = model.forward(ids, mask, cache=prefixes.cache, position_ids=inside, **options)
    keys_values = None
    if keep_cache:
        keys_values = kept_keys_values(prefixes.cache, lowest)
        # Up to there all is as in the unedited pass, in the columns that the edited one has.
        columns = torch.arange(prefixes.real.shape[1] + behind.shape[1], device=first.device)
        position = (columns + (first - first.max())[:, None]).clamp(0, run.input_ids.shape[1] - 1)
        for layer in range(lowest + 1):
            keys, values = (x[places[:, None], :, position].transpose(1, 2) for x in (run.keys_values or {})[layer])
            keys_values[layer] = keys, values
    ended = CachedRun(run.input_ids[places], found.hidden, {}, keys_values, first - first.max())
    return PromptPass(ended, lengths, {}, first)
