"""The logits that a graph explains: likely next tokens, given ones, or the difference of two."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ato.errors import InputError
from ato.models.language_model import LanguageModel


@dataclass(frozen=True)
class LogitTargets:
    """Linear readings ``vector . h + offset`` of the state h behind the final norm at the last token.

    Of a token it is its logit less the mean logit of the vocabulary, before any soft cap.
    """

    token_ids: tuple[int, ...]
    """[k]; of a difference the size of the vocabulary, which is no token's."""
    minuend_subtrahend: tuple[int, int] | None
    """The two tokens of a difference."""
    vectors: Tensor
    """[k, d_model]."""
    offsets: Tensor
    """[k]."""
    probabilities: tuple[float, ...]
    """[k] of the model, soft cap included; 1 of a difference."""

    def values(self, hidden: Tensor) -> Tensor:
        """[k] of the state [d_model]."""
        return self.vectors @ hidden + self.offsets


def likely_tokens(model: LanguageModel, hidden: Tensor, most: int = 10, probability: float = 0.95) -> LogitTargets:
    """The fewest tokens that together have a probability, at most so many.

    Args:
        model: whose head reads.
        hidden: [d_model] behind the final norm at the last token.
        most: of tokens.
        probability: in (0, 1].

    Raises:
        InputError: no token is asked for.
    """
    if most < 1 or not 0 < probability <= 1:
        what = f"{most} tokens of a total probability of {probability} cannot be chosen"
        raise InputError(what, cure="ask for one token or more, and a probability above 0 and at most 1")
    likely, ids = torch.softmax(model.logits(hidden).double(), dim=-1).topk(min(most, model.vocabulary_size))
    enough = int((likely.cumsum(0) < probability).sum()) + 1
    return given_tokens(model, hidden, ids[:enough].tolist())


def given_tokens(model: LanguageModel, hidden: Tensor, token_ids: Sequence[int]) -> LogitTargets:
    """Tokens by their ids, in the given order.

    Raises:
        InputError: none, one twice, or one that the model does not have.
    """
    ids = _known(model, token_ids)
    if len(set(ids)) < len(ids) or not ids:
        raise InputError(f"{list(ids)} are no target tokens", cure="give each token once, and at least one")
    weight, bias = _head(model)
    vectors = weight[list(ids)] - weight.mean(0)
    offsets = bias[list(ids)] - bias.mean()
    probabilities = torch.softmax(model.logits(hidden).double(), dim=-1)[list(ids)]
    return LogitTargets(ids, None, vectors, offsets, tuple(probabilities.tolist()))


def token_difference(model: LanguageModel, token: int, other: int) -> LogitTargets:
    """The logit of a token less that of another.

    Raises:
        InputError: the same token twice, or one that the model does not have.
    """
    ids = _known(model, (token, other))
    if token == other:
        raise InputError(f"the logit of token {token} less itself is 0", cure="give two tokens")
    weight, bias = _head(model)
    vector, offset = weight[ids[0]] - weight[ids[1]], bias[ids[0]] - bias[ids[1]]
    return LogitTargets((model.vocabulary_size,), (ids[0], ids[1]), vector[None], offset[None], (1.0,))


def _known(model: LanguageModel, token_ids: Sequence[int]) -> tuple[int, ...]:
    if wrong := [int(token) for token in token_ids if not 0 <= token < model.vocabulary_size]:
        raise InputError(f"the model has no tokens {wrong}", cure=f"use ids below {model.vocabulary_size}")
    return tuple(int(token) for token in token_ids)


def _head(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """Unembedding [vocabulary, d_model] of what is behind the final norm, and its bias, times the logits' scale."""
    head, scale = model.parts.head, model.parts.logit_scale
    weight: Tensor = head.weight.detach()  # type: ignore[assignment, operator]
    bias = getattr(head, "bias", None)
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    return weight * scale, bias * scale
