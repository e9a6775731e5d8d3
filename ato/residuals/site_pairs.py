"""Two sites of one layer read in one pass: what a transcoder reads and what it is to write, side by side in a row."""

from collections import abc
from typing import Any

import torch
from torch import Tensor

from ato.models.forward import Keep, Pass
from ato.models.language_model import LanguageModel
from ato.residuals.live import LiveSource
from ato.text.sequences import TokenSequence


class SitePairs(LiveSource):
    """A residual source whose rows are [x, y] of one token: x at one site of a layer, y at another.

    Blocks hold layer -> [n, d_in + d_out], so that whatever mixes, counts or drops tokens keeps pairs together;
    ``split_pairs`` takes them apart. The norm rule, where there is one, looks at the norm of a whole row.

    Args:
        model: to run.
        sequences: of a collection, or of one shard of it.
        layers: that may be asked for.
        sites: of x and of y, see ``ato.models.sites.SITES``; x must be passed before y.
        options: others of ``LiveSource``; ``n_folds`` is needed.

    Raises:
        LayerError: a layer is not in the model, a site is not as wide at all of them, or one has no median norm.
        ModelError: a block has no such site.
        SettingsError: an unknown site.
    """

    def __init__(
        self,
        model: LanguageModel,
        sequences: abc.Iterable[TokenSequence],
        layers: abc.Iterable[int],
        *,
        sites: tuple[str, str] = ("mlp_in", "mlp_out"),
        **options: Any,
    ):
        super().__init__(model, sequences, layers, site=sites[1], **options)
        self.site_in, self.site_out = sites
        self.d_in = model.width(self.site_in, self.layers or (0,))
        """Width of x."""
        self.d_out = self.d_model
        """Width of y."""
        self.d_model = self.d_in + self.d_out

    def _read(self, ids: Tensor, lengths: Tensor, layers: abc.Iterable[int], keep: Keep) -> Pass:
        layers, waiting = list(layers), {}

        def wait(site: str, layer: int, x: Tensor) -> Tensor:
            waiting[layer] = x
            return x[:0]

        def joined(layer: int, y: Tensor) -> Tensor:
            return keep(layer, torch.cat([waiting.pop(layer), y], dim=-1))

        return self._model.read(
            ids,
            lengths,
            layers,
            attention=self.attention_layers,
            site=self.site_out,
            keep=joined,
            beside={self.site_in: layers},
            keep_beside=wait,
        )


def split_pairs(rows: Tensor, d_in: int) -> tuple[Tensor, Tensor]:
    """x [n, d_in] and y [n, d_out] of rows [n, d_in + d_out], as views."""
    return rows[:, :d_in], rows[:, d_in:]
