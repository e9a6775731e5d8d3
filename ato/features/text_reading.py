"""One text of a user's read by one feature, in one pass: its activation at every token, what else fires there, and the losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ato.errors import InputError
from ato.features.text_activations import SearchedSAE, tokenize
from ato.features.token_features import LayerMap, TokenFeatures, features_of_tokens, predicted_features, values_at
from ato.models.language_model import LanguageModel
from ato.text.token_texts import TokenTexts, whole_tokens

T = TypeVar("T")

MAX_TOKENS = 256
"""Longest text by default; what is longer is cut."""


@dataclass(frozen=True)
class TextReading:
    """A text token by token."""

    tokens: tuple[str, ...]
    """Joined, the text that was run; of a character that several tokens share, those after the first are empty."""
    special: tuple[bool, ...]
    """Which tokens stand for no text, such as BOS."""
    activations: tuple[float | None, ...]
    """Of the feature at each token, 0 where it is silent; None at tokens that are not read."""
    predicted: tuple[float | None, ...] | None
    """The feature's activation on what the operator predicts from its source layer; None without an operator."""
    losses: tuple[float | None, ...]
    """-log p(next token | those so far) in nats; None at the last token, behind which nothing is known."""
    features: tuple[TokenFeatures | None, ...]
    """The strongest features of each token; None at tokens that are not read."""
    n_cut: int
    """Tokens of the text that were too many."""

    @property
    def largest(self) -> float:
        """The largest activation, 0 if it fires nowhere."""
        return max((value for value in self.activations if value is not None), default=0.0)

    @property
    def transported(self) -> tuple[bool | None, ...]:
        """Of tokens on which the feature fires: whether it fires on the operator's prediction too; None elsewhere."""
        if self.predicted is None:
            return (None,) * len(self.tokens)
        pairs = zip(self.activations, self.predicted, strict=True)
        return tuple(there > 0 if here and there is not None else None for here, there in pairs)


def read_text(
    model: LanguageModel,
    sae: SearchedSAE,
    feature_id: int,
    text: str,
    *,
    operator: LayerMap | None = None,
    special_tokens: bool = False,
    prepend_bos: bool = False,
    max_tokens: int = MAX_TOKENS,
) -> TextReading:
    """The activation of one feature at every token of a text, the strongest other ones and the losses: one forward pass.

    Args:
        model: the model.
        sae: whose feature it is; a transcoder is read at its input.
        feature_id: its number.
        text: of a user.
        operator: that predicts the residual at the SAE's layer from the same token's at an earlier one.
        special_tokens: read the first token and special ones too, on which SAEs are usually not trained.
        prepend_bos: put the BOS token before it, as the collection was made.
        max_tokens: at most as many are run, BOS included.

    Raises:
        InputError: no such feature, or a text without a token but the first.
        SettingsError: as ``tokenize``.
        MismatchError: an operator of another model, or that ends at another layer.
        LayerError, ModelError: as ``LanguageModel.run_padded``.
    """
    if not 0 <= feature_id < sae.sae.d_sae:
        raise InputError(f"no feature {feature_id}", where=sae.key, cure=f"use 0 to {sae.sae.d_sae - 1}")
    if not text.strip():
        raise InputError("the text is empty", cure="write a sentence")
    source = sae.layer if operator is None or operator.source_layer is None else operator.source_layer
    if operator is not None:
        operator.check_model(model.identity.weights_hash)
        operator.check_pair(source, sae.layer)
    special_ids = model.special_token_ids
    limit = min(max_tokens, model.context_length)
    run = tokenize(model.tokenizer, [text], [[]], special_ids=special_ids, prepend_bos=prepend_bos, max_tokens=limit)
    ids = run.token_ids[0]
    places = np.arange(len(ids)) if special_tokens else np.flatnonzero(run.counted[0])
    layers = sorted({sae.layer, source})
    model.check_layers(layers)
    batch, lengths = torch.from_numpy(ids)[None], torch.tensor([len(ids)])
    found = model.run_padded(batch, lengths, read=layers, site=sae.site, keep=partial(_rows, places))
    losses = model.losses(found.hidden, batch, lengths)[0].tolist()
    features = sae.sae.to(model.device)
    active = features.active(found.residuals[sae.layer])
    carried = None if operator is None else predicted_features(features, operator, found.residuals[source])
    row, wanted = np.arange(len(places)), np.full(len(places), feature_id)
    whole = len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) + prepend_bos
    return TextReading(
        whole_tokens(TokenTexts(model.tokenizer).of(ids)),
        tuple(np.isin(ids, list(special_ids)).tolist()),
        _spread(len(ids), places, values_at(active, row, wanted).tolist()),
        None if carried is None else _spread(len(ids), places, values_at(carried, row, wanted).tolist()),
        (*losses, None),
        _spread(len(ids), places, features_of_tokens(active, carried)),
        whole - len(ids),
    )


def _rows(places: np.ndarray, layer: int, value: torch.Tensor) -> torch.Tensor:
    """[n, d] float32 of the only row's residuals at some positions."""
    return value[0, torch.from_numpy(places).to(value.device)].float()


def _spread(n: int, places: np.ndarray, values: Sequence[T]) -> tuple[T | None, ...]:
    """As many as there are tokens; None at those that were not read."""
    found: list[T | None] = [None] * n
    for place, value in zip(places.tolist(), values, strict=True):
        found[place] = value
    return tuple(found)
