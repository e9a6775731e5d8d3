"""Next-token distributions of one unedited sequence, and what edited ones lose against them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.models.language_model import LanguageModel

_LOGIT_NUMBERS = 1 << 25
"""Logits made at once: 700 tokens of a vocabulary of 50,000, enough for the head to run at full speed."""
_CACHED_NUMBERS = 1 << 19
"""Logits that a processor takes through the softmax at once: in its cache, that is several times faster."""


@dataclass(frozen=True)
class NextTokens:
    """The distributions of one sequence of t tokens: of one sequence they are small."""

    model: LanguageModel
    input_ids: Tensor
    """[t] int64."""
    losses: np.ndarray
    """[t-1] float64."""
    probability: Tensor
    """[t-1, vocabulary] float32."""
    negentropy: Tensor
    """[t-1] sum of p log p."""

    @classmethod
    def of(cls, model: LanguageModel, hidden: Tensor, input_ids: Tensor) -> "NextTokens":
        """From its hidden states [t, d_model] behind the final norm."""
        losses, negentropy = [], []
        probability = torch.empty(len(hidden) - 1, model.vocabulary_size, device=hidden.device)
        for rows, log_p in _log_probabilities(model, hidden[:-1]):
            p = torch.exp(log_p, out=probability[rows])
            losses.append(-log_p.gather(1, input_ids[1:][rows, None])[:, 0])
            negentropy.append(torch.linalg.vecdot(p, log_p))
        values = torch.cat(losses).double().cpu().numpy()
        return cls(model, input_ids, values, probability, torch.cat(negentropy))

    def compare(self, hidden: Tensor, first: Tensor) -> Tensor:
        """Losses and then KL(unedited || edited) [b, 2, s] float64 of the sequence after b edits.

        Args:
            hidden: [b, s, d_model], edited, behind the final norm.
            first: [b] position of the first of these tokens; what reaches beyond the last prediction gives 0.
        """
        position = first[:, None] + torch.arange(hidden.shape[1], device=first.device)
        # Predictions made at one position are compared with the same distribution: one after the other, it is read once.
        edit, token = (position < len(self.losses)).nonzero(as_tuple=True)
        order = position[edit, token].argsort(stable=True)
        edit, token = edit[order], token[order]
        at = position[edit, token]
        labels, found = self.input_ids[at + 1], []
        for rows, log_q in _log_probabilities(self.model, hidden[edit, token]):
            losses = -log_q.gather(1, labels[rows, None])[:, 0]
            found.append(torch.stack([losses, self.negentropy[at[rows]] - self._cross(at[rows], log_q)]))
        result = torch.zeros(len(hidden), 2, hidden.shape[1], dtype=torch.float64, device=hidden.device)
        result[edit, :, token] = torch.cat(found, dim=1).T.double()
        return result

    def _cross(self, position: Tensor, log_q: Tensor) -> Tensor:
        """[m] sum of p log q of log-probabilities [m, vocabulary] at ascending positions [m]."""
        if log_q.device.type != "cpu":
            return torch.linalg.vecdot(self.probability[position], log_q)
        positions, counts = position.unique_consecutive(return_counts=True)
        parts = log_q.split(counts.tolist())
        return torch.cat([part @ self.probability[p] for p, part in zip(positions.tolist(), parts)])


def _log_probabilities(model: LanguageModel, hidden: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows, their next-token log-probabilities [m, vocabulary] float32) of hidden states [n, d_model]."""
    made = max(1, _LOGIT_NUMBERS // model.vocabulary_size)
    cached = max(1, _CACHED_NUMBERS // model.vocabulary_size) if hidden.device.type == "cpu" else made
    for start in range(0, len(hidden), made):
        logits = model.logits(hidden[start : start + made])
        for row in range(0, len(logits), cached):
            yield (
                slice(start + row, start + min(row + cached, len(logits))),
                logits[row : row + cached].float().log_softmax(1),
            )
