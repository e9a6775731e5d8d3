"""One text whose keys and values are kept while it grows, and while the next one begins like it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ato.errors import ModelError
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import caches, check_prompts


class KeptText:
    """A text of a model: only tokens that it does not share with the text before are run.

    A model whose family is not known to use transformers' plain cache runs all tokens each time. Not for several
    threads at once.

    Args:
        model: that runs it.
    """

    def __init__(self, model: LanguageModel):
        self._model = model
        self._ids: list[int] = []
        self._cache, self._last = _cut(None, 0), torch.empty(0)
        self.n_run = 0
        """Tokens that were run so far, of all texts."""

    @property
    def ids(self) -> list[int]:
        """Token ids of the text."""
        return list(self._ids)

    def begin(self, ids: Sequence[int]) -> None:
        """Begin another text.

        Raises:
            ModelError: it has no tokens, or more than the model's context.
        """
        check_prompts(self._model, [np.asarray(ids)])
        same = next(
            (i for i, (old, new) in enumerate(zip(self._ids, ids)) if old != new), min(len(self._ids), len(ids))
        )
        same = min(same, len(ids) - 1)  # what its last token predicts is not kept
        self._cache, self._ids = _cut(self._cache, same), self._ids[:same]
        self.feed(ids[same:])

    def feed(self, ids: Sequence[int]) -> None:
        """Continue the text.

        Raises:
            ModelError: it becomes longer than the model's context.
        """
        if not len(ids):
            return
        whole = [*self._ids, *map(int, ids)]
        if len(whole) > self._model.context_length:
            what = f"a text of {len(whole)} tokens exceeds the model's context of {self._model.context_length}"
            raise ModelError(what, where=self._model.identity.model, cure="use shorter texts")
        if caches(self._model):
            position = torch.arange(len(self._ids), len(whole))[None].to(self._model.device)
            batch = torch.tensor([whole[len(self._ids) :]])
            hidden = self._model.forward(batch, None, cache=self._cache, position_ids=position).hidden
            self.n_run += len(ids)
        else:
            hidden = self._model.forward(torch.tensor([whole]), None).hidden
            self.n_run += len(whole)
        self._ids, self._last = whole, hidden[0, -1]

    def next_log_probabilities(self) -> Tensor:
        """[vocabulary] float32: log p of the next token."""
        return self._model.logits(self._last).float().log_softmax(-1)

    def log_probabilities(self, continuations: Sequence[Sequence[int]]) -> np.ndarray:
        """[k] float64: sum of log p of the tokens of each continuation, none of them empty; the text stays as it is.

        Raises:
            ModelError: the text with a continuation is longer than the model's context.
        """
        lengths = torch.tensor([len(ids) for ids in continuations])
        check_prompts(self._model, [np.asarray(ids) for ids in continuations])
        k, s = len(continuations), int(lengths.max())
        if len(self._ids) + s > self._model.context_length:
            what = f"a text of {len(self._ids)} tokens and {s} more exceed the context of {self._model.context_length}"
            raise ModelError(what, where=self._model.identity.model, cure="use shorter texts")
        labels = torch.zeros(k, s, dtype=torch.long)
        for row, ids in zip(labels, continuations):
            row[: len(ids)] = torch.tensor(list(ids))
        hidden = self._last.expand(k, 1, -1)  # [k, 1, d], that predicts the first token
        if s > 1:
            hidden = torch.cat([hidden, self._behind(labels[:, :-1])], dim=1)
        real = (torch.arange(s) < lengths[:, None]).to(hidden.device)
        losses = torch.zeros(k, s, dtype=torch.float64, device=hidden.device)
        losses[real] = self._model.losses_of(hidden[real], labels.to(hidden.device)[real]).double()
        return -losses.sum(1).cpu().numpy()

    def _behind(self, ids: Tensor) -> Tensor:
        """[k, s, d] hidden states of tokens [k, s] behind the text; padding at the end of rows is not seen by others."""
        n = len(self._ids)
        if not caches(self._model):
            before = torch.tensor([self._ids]).expand(len(ids), -1)
            return self._model.forward(torch.cat([before, ids], dim=1), None).hidden[:, n:]
        position = torch.arange(n, n + ids.shape[1])[None].to(self._model.device)
        cache = _cut(self._cache, n, rows=len(ids))
        return self._model.forward(ids, None, cache=cache, position_ids=position.expand(len(ids), -1)).hidden


def _cut(cache: Any, n: int, rows: int = 1) -> Any:
    """A copy of a cache: keys and values of the first n tokens, for so many rows."""
    from transformers import DynamicCache

    # Made without the configuration, the cache keeps all tokens of sliding windows too.
    cut = DynamicCache()
    for i, layer in enumerate(cache.layers if cache is not None and n else ()):
        if layer.get_seq_length():
            keys, values = (x[:, :, :n].expand(rows, -1, -1, -1) for x in (layer.keys, layer.values))
            cut.update(keys, values, i)
    return cut
