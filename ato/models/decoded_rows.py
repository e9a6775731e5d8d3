"""Rows that completions are made of: each is run a token at a time, and can be copied, left out and joined to others."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ato.models.cached_run import Prefixes
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, PromptPass, edits_at, prompt_pass


class CachedRows:
    """Rows whose next tokens attend to kept keys and values.

    Args:
        model: the model.
        edits: what is changed in it.
        numbers: [b] of the prompts.
        prefixes: keys and values of the tokens of each row; grows by what is run.
    """

    def __init__(self, model: LanguageModel, edits: Sequence[GenerationEdit], numbers: Tensor, prefixes: Prefixes):
        self._model, self._edits, self._numbers = model, edits, numbers
        self._cache, self._real = prefixes.cache, prefixes.real

    @classmethod
    def begin(
        cls, model: LanguageModel, edits: Sequence[GenerationEdit], begun: PromptPass, numbers: Sequence[int]
    ) -> "CachedRows":
        """The prompts of a pass that kept keys and values; numbers are those of the prompts."""
        rows = torch.arange(len(numbers), device=model.device)
        prefixes = begun.run.prefixes(rows, begun.lengths, model.n_layers)
        return cls(model, edits, torch.tensor(numbers, device=model.device), prefixes)

    def __len__(self) -> int:
        return len(self._numbers)

    def step(self, tokens: Tensor) -> Tensor:
        """Hidden states [b, d] of the next tokens [b]."""
        at = self._real.sum(1, keepdim=True)  # positions: as many as there are tokens before
        self._real = torch.cat([self._real, self._real.new_ones(len(tokens), 1)], dim=1)
        options = edits_at(self._model, self._edits, self._numbers, at)
        mask = None if bool(self._real.all()) else self._real.long()
        found = self._model.forward(tokens[:, None], mask, cache=self._cache, position_ids=at, **options)
        return found.hidden[:, 0]

    @staticmethod
    def gathered(parts: Sequence[tuple["CachedRows", Sequence[int]]]) -> "CachedRows":
        """A copy of some rows of each of several, side by side; a row may be named many times."""
        from transformers import DynamicCache

        own = [(rows, torch.tensor(of, device=rows._numbers.device)) for rows, of in parts]
        longest = max(int(rows._real[of].sum(1).max()) for rows, of in own)

        def fitted(x: Tensor, of: Tensor) -> Tensor:
            """[b, heads, longest, d_head]: columns before the longest row's first token are left out."""
            return nn.functional.pad(x[of, :, max(0, x.shape[2] - longest) :], (0, 0, max(0, longest - x.shape[2]), 0))

        cache, first = DynamicCache(), parts[0][0]
        for i in range(len(first._cache.layers)):
            layers = [(rows._cache.layers[i], of) for rows, of in own]
            keys = torch.cat([fitted(layer.keys, of) for layer, of in layers])
            cache.update(keys, torch.cat([fitted(layer.values, of) for layer, of in layers]), i)
        real = torch.cat([fitted(rows._real[:, None, :, None], of)[:, 0, :, 0] for rows, of in own])
        numbers = torch.cat([rows._numbers[of] for rows, of in own])
        return CachedRows(first._model, first._edits, numbers, Prefixes(cache, real))


class WholeRows:
    """Rows that are run from their first token at each step: for models without a known cache, and as a reference.

    Args:
        model: the model.
        edits: what is changed in it.
        numbers: [b] of the prompts.
        ids: of the tokens of each row.
    """

    def __init__(
        self,
        model: LanguageModel,
        edits: Sequence[GenerationEdit],
        numbers: Sequence[int],
        ids: Sequence[Sequence[int]],
    ):
        self._model, self._edits, self._numbers, self._ids = model, edits, numbers, ids

    @classmethod
    def begin(
        cls, model: LanguageModel, edits: Sequence[GenerationEdit], begun: PromptPass, numbers: Sequence[int]
    ) -> "WholeRows":
        """The prompts of a pass; numbers are those of the prompts."""
        ids = [row[:n] for row, n in zip(begun.run.input_ids.tolist(), begun.lengths.tolist())]
        return cls(model, edits, numbers, ids)

    def __len__(self) -> int:
        return len(self._numbers)

    def step(self, tokens: Tensor) -> Tensor:
        """Hidden states [b, d] of the next tokens [b]."""
        self._ids = [[*ids, token] for ids, token in zip(self._ids, tokens.tolist())]
        return prompt_pass(self._model, [np.array(ids) for ids in self._ids], self._numbers, self._edits).last

    @staticmethod
    def gathered(parts: Sequence[tuple["WholeRows", Sequence[int]]]) -> "WholeRows":
        """A copy of some rows of each of several, side by side; a row may be named many times."""
        numbers = [rows._numbers[i] for rows, of in parts for i in of]
        ids = [rows._ids[i] for rows, of in parts for i in of]
        return WholeRows(parts[0][0]._model, parts[0][0]._edits, numbers, ids)
