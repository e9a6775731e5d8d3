"""A pass whose rows can be run again from any position on, with the keys and values of the tokens before it.

In causal attention a token sees only itself and those before it: where the residual of a layer is edited from
position p on, keys and values before p stay what they are at every block. They are kept in transformers' own cache,
so that each family's attention, masks and position embeddings are its own code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ato.models.language_model import LanguageModel


@dataclass(frozen=True)
class CachedRun:
    """One pass of b rows; made by ``cached_run`` and ``rerun``."""

    input_ids: Tensor
    """[b, t] int64, whole rows."""
    hidden: Tensor
    """[b, s, d] behind the final norm, of the tokens that were run."""
    residuals: dict[int, Tensor]
    """Layer -> [b, t, d], for the layers asked for."""
    keys_values: dict[int, tuple[Tensor, Tensor]] | None
    """Block -> keys and values [b, heads, n, d_head], of the blocks above the lowest of these layers that keep any;
    None for a model whose cache is not known to work that way, see ``ModelParts.cache``."""
    start: Tensor
    """[b] position of each row's first key; below 0 where the row is padded on the left."""

    def replaced(self, layer: int, rows: Tensor, position: Tensor, residual: Tensor) -> Tensor:
        """Residuals [b, t, d] of whole rows with others [b, s, d] at their positions [b, s]; beyond t they are dropped."""
        residual = residual.to(self.residuals[layer].dtype)  # a float32 stream of a model in half precision
        whole = torch.cat([self.residuals[layer][rows], torch.zeros_like(residual)], dim=1)
        whole.scatter_(1, position[..., None].expand_as(residual), residual)
        return whole[:, : self.input_ids.shape[1]]

    def prefixes(self, rows: Tensor, first: Tensor, n_layers: int) -> "Prefixes":
        """What the tokens before position first[i] of row rows[i] left behind, see ``Prefixes``."""
        from transformers import DynamicCache

        longest = int(first.max())
        position = torch.arange(longest, device=first.device) + (first - longest)[:, None]  # below 0: padding
        cache, row, column = DynamicCache(), rows[:, None], position.clamp(min=0) - self.start[rows][:, None]
        # A block that is not run must still be as long as the others: masks are made by the first one.
        nothing = torch.zeros(1, 1, longest, 1, device=first.device)
        for layer in range(n_layers if longest else 0):
            keys, values = (self.keys_values or {}).get(layer, (nothing, nothing))
            if keys is not nothing:
                keys, values = (x[row, :, column].transpose(1, 2) for x in (keys, values))
            cache.update(keys, values, layer)
        return Prefixes(cache, position >= 0)


@dataclass(frozen=True)
class Prefixes:
    """The first tokens of some rows, padded on the left to the longest."""

    cache: Any
    """transformers' cache, for one pass: it grows by what is run."""
    real: Tensor
    """[b, longest] bool, false for padding."""

    def mask(self, n: int) -> Tensor | None:
        """Attention mask [b, longest + n] for n tokens behind them; None where nothing is padded."""
        if bool(self.real.all()):
            return None
        return torch.cat([self.real.long(), self.real.new_ones(len(self.real), n, dtype=torch.long)], dim=1)


def kept_keys_values(cache: Any, lowest: int) -> dict[int, tuple[Tensor, Tensor]]:
    """Block -> its keys and values in a cache, for blocks above ``lowest`` that keep any."""
    layers = enumerate(cache.layers)
    return {i: (layer.keys, layer.values) for i, layer in layers if i > lowest and layer.get_seq_length()}


def cached_run(
    model: "LanguageModel",
    input_ids: Tensor,
    lengths: Tensor | np.ndarray,
    layers: Iterable[int],
    start: tuple[int, Tensor] | None = None,
    stop: int | None = None,
) -> CachedRun:
    """One pass of the whole model, whose rows can be run again from any position on, see ``rerun``.

    Args:
        model: whose passes they are.
        input_ids: [b, t] int64, padded on the right with any valid id.
        lengths: [b], tokens in each row.
        layers: whose residuals are kept; rows can be run again from these.
        start: (layer, residual [b, t, d_model]) where these are known: the blocks up to there are not run. No
            layer may lie below.
        stop: last block to run; ``hidden`` is not meaningful then.

    Raises:
        LayerError: a layer is not in the model.
    """
    from transformers import DynamicCache

    wanted = sorted(set(layers))
    model.check_layers(wanted)
    # Made without the configuration, the cache keeps all tokens of sliding windows too.
    cache = DynamicCache() if model.parts.cache else None
    input_ids = input_ids.to(model.device)
    positions = torch.arange(input_ids.shape[1], device=model.device)[None]
    found = model.run_padded(
        input_ids, lengths, read=wanted, start=start, stop=stop, cache=cache, position_ids=positions
    )
    kept = None if cache is None else kept_keys_values(cache, wanted[0] if wanted else model.n_layers)
    return CachedRun(input_ids, found.hidden, found.residuals, kept, torch.zeros_like(input_ids[:, 0]))


def rerun(
    model: "LanguageModel", run: CachedRun, rows: Tensor, first: Tensor, layer: int, residual: Tensor
) -> CachedRun:
    """Some rows with another residual after a layer from a position on: ``hidden`` is that of s tokens each.

    Row i is row rows[i] of the run, its s tokens are those from position first[i] on; before them nothing changes.
    Its rows can be run again in turn, at the same layer. Only the blocks above ``layer`` are run, and only for these
    tokens, which attend to the kept keys and values of those before. A model whose family is not known to use
    transformers' plain cache runs all tokens instead.

    Args:
        model: that made the run.
        run: of this model; it must hold the residuals of ``layer``.
        rows: [b] int64; a row may be named many times.
        first: [b] int64.
        layer: whose output is given.
        residual: [b, s, d_model]. A row may reach beyond the end of its sequence, where values are meaningless.

    Raises:
        LayerError: the layer is not in the model.
    """
    model.check_layers([layer])
    rows, first = rows.to(model.device), first.to(model.device)
    (b, s, _), t = residual.shape, run.input_ids.shape[1]
    behind = first[:, None] + torch.arange(s, device=model.device)  # [b, s] positions
    inside = behind.clamp(max=t - 1)
    if run.keys_values is None:
        whole, ids = run.replaced(layer, rows, behind, residual), run.input_ids[rows]
        hidden = model.hidden_from(layer, whole, ids, np.full(b, t))
        own = hidden.gather(1, inside[..., None].expand_as(residual))
        return CachedRun(ids, own, {layer: whole}, None, torch.zeros_like(first))
    prefixes = run.prefixes(rows, first, model.n_layers)
    ids, start = run.input_ids[rows[:, None], inside], (layer, residual)
    own = model.forward(ids, prefixes.mask(s), start=start, cache=prefixes.cache, position_ids=inside).hidden
    kept = kept_keys_values(prefixes.cache, layer)
    return CachedRun(run.input_ids[rows], own, {}, kept, first - first.max())


def residuals_after(
    model: "LanguageModel", run: CachedRun, rows: Tensor, first: Tensor, edit: tuple[int, Tensor], target: int
) -> Tensor:
    """Residuals [b, s, d_model] after block ``target`` of the tokens of ``rerun``; blocks behind it are not run.

    Args:
        model: that made the run.
        run: of this model; it must hold the residuals of the edited layer.
        rows: [b] int64; a row may be named many times.
        first: [b] int64.
        edit: (layer, residual [b, s, d_model]), what ``rerun`` is given.
        target: a later block.

    Raises:
        LayerError: a layer is not in the model.
    """
    layer, residual = edit
    model.check_layers([layer, target])
    rows, first = rows.to(model.device), first.to(model.device)
    (b, s, _), t = residual.shape, run.input_ids.shape[1]
    behind = first[:, None] + torch.arange(s, device=model.device)
    inside = behind.clamp(max=t - 1)
    if run.keys_values is None:
        start = (layer, run.replaced(layer, rows, behind, residual))
        found = model.run_padded(run.input_ids[rows], np.full(b, t), start=start, read=[target], stop=target)
        return found.residuals[target].gather(1, inside[..., None].expand_as(residual))
    prefixes, ids = run.prefixes(rows, first, model.n_layers), run.input_ids[rows[:, None], inside]
    options = {"start": edit, "read": [target], "stop": target, "cache": prefixes.cache, "position_ids": inside}
    return model.forward(ids, prefixes.mask(s), **options).residuals[target]
