"""One text of a user's read by one feature: its activation at every token."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import InputError
from ato.features.text_activations import SearchedSAE, tokenize
from ato.models.language_model import LanguageModel
from ato.models.position_reading import read_positions
from ato.saes.chosen_features import ChosenFeatures
from ato.text.token_texts import TokenTexts, whole_tokens

MAX_TOKENS = 256
"""Longest text by default; what is longer is cut."""


@dataclass(frozen=True)
class TextReading:
    """A text token by token."""

    tokens: tuple[str, ...]
    """Joined, the text that was run; of a character that several tokens share, those after the first are empty."""
    activations: tuple[float | None, ...]
    """Of the feature at each token, 0 where it is silent; None at the first and at special tokens, which are not read."""
    n_cut: int
    """Tokens of the text that were too many."""

    @property
    def largest(self) -> float:
        """The largest activation, 0 if it fires nowhere."""
        return max((value for value in self.activations if value is not None), default=0.0)


def read_text(
    model: LanguageModel,
    sae: SearchedSAE,
    feature_id: int,
    text: str,
    *,
    prepend_bos: bool = False,
    max_tokens: int = MAX_TOKENS,
) -> TextReading:
    """The activation of one feature at every token of a text: one pass up to the SAE's layer.

    Args:
        model: the model.
        sae: whose feature it is; a transcoder is read at its input.
        feature_id: its number.
        text: of a user.
        prepend_bos: put the BOS token before it, as the collection was made.
        max_tokens: at most as many are run, BOS included.

    Raises:
        InputError: no such feature, or a text without a token but the first.
        SettingsError: as ``tokenize``.
        LayerError, ModelError: as ``read_positions``.
    """
    if not 0 <= feature_id < sae.sae.d_sae:
        raise InputError(f"no feature {feature_id}", where=sae.key, cure=f"use 0 to {sae.sae.d_sae - 1}")
    if not text.strip():
        raise InputError("the text is empty", cure="write a sentence")
    limit = min(max_tokens, model.context_length)
    run = tokenize(
        model.tokenizer,
        [text],
        [[]],
        special_ids=model.special_token_ids,
        prepend_bos=prepend_bos,
        max_tokens=limit,
    )
    ids, places = run.token_ids[0], np.flatnonzero(run.counted[0])
    (read,) = read_positions(model, [ids], [places], [sae.layer], site=sae.site)
    residuals = torch.from_numpy(read.residuals[sae.layer]).to(model.device)
    active = ChosenFeatures(sae.sae.to(model.device), np.array([feature_id])).active(residuals)
    values: list[float | None] = [None] * len(ids)
    for place in places:
        values[place] = 0.0
    for place, value in zip(places[active.token.cpu().numpy()], active.value.tolist(), strict=True):
        values[place] = value
    whole = len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) + prepend_bos
    return TextReading(whole_tokens(TokenTexts(model.tokenizer).of(ids)), tuple(values), whole - len(ids))
