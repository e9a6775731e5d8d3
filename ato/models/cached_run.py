"""A pass whose rows can be run again from any position on, with the keys and values of the tokens before it.

In causal attention a token sees only itself and those before it: where the residual of a layer is edited from
position p on, keys and values before p stay what they are at every block. They are kept in transformers' own cache,
so that each family's attention, masks and position embeddings are its own code.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class CachedRun:
    """One pass of b rows; made by ``LanguageModel.cached_run`` and ``LanguageModel.rerun``."""

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
