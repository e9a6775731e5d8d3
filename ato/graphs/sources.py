"""What targets are made of: the active features, errors and tokens of a prompt, and the edges of many targets at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.graphs.local_model import LocalModel


@dataclass(frozen=True)
class Rows:
    """Edges into some targets of one reading, from everything that it depends on."""

    targets: np.ndarray
    """[b] numbers of the targets: rows of ``Sources`` for features, else of the logits."""
    features: np.ndarray
    """[b, stop - start] edges from the active features that the reading's cuts have."""
    errors: np.ndarray
    """[b, cuts, t] edges from the errors of these cuts."""
    tokens: np.ndarray
    """[b, t] edges from the tokens, t = 0 where the stream is cut between."""
    constant: np.ndarray
    """[b]."""
    total: np.ndarray
    """[b] value of the target on the prompt."""

    @property
    def size(self) -> np.ndarray:
        """[b] sum of the edges' magnitudes."""
        parts = (self.features, self.errors.reshape(len(self.errors), -1), self.tokens, self.constant[:, None])
        summed: np.ndarray = sum(np.abs(part).sum(1) for part in parts)  # type: ignore[assignment]
        return summed


class Sources:
    """The features that are active on a prompt, by cut, position and number, and what they write.

    Args:
        local: the cut model.
    """

    def __init__(self, local: LocalModel):
        self.local = local
        found = [local.active(cut) for cut in range(len(local.layers))]
        self.starts = np.concatenate([[0], np.cumsum([len(active.feature) for active in found])])
        """[cuts + 1]: features of a cut are rows ``starts[cut]`` to ``starts[cut + 1]``."""
        self.cut = np.repeat(np.arange(len(found)), np.diff(self.starts))
        """[n]."""
        order = [np.lexsort((active.feature.cpu(), active.token.cpu())) for active in found]
        self.position = _joined([active.token.cpu().numpy()[by] for active, by in zip(found, order)])
        """[n]."""
        self.feature = _joined([active.feature.cpu().numpy()[by] for active, by in zip(found, order)])
        """[n]."""
        self.activation = _joined([active.value.cpu().numpy()[by] for active, by in zip(found, order)])
        """[n]."""
        self._written: list[list[Tensor]] = []
        self._errors: list[Tensor] = []
        for cut, active in enumerate(found):
            self._written.append(self._writes(cut))
            error = local.values.leaves[cut][0] - local.bias(cut) - active.weighted_sum(local.dictionaries[cut].W_dec)
            self._errors.append(error)
        self._constants = local.constants()

    def __len__(self) -> int:
        return len(self.feature)

    def columns(self, reading: int) -> slice:
        """Rows of the features that a reading depends on."""
        cuts = self.cuts(reading)
        return slice(int(self.starts[cuts.start]), int(self.starts[cuts.stop])) if cuts else slice(0, 0)

    def cuts(self, reading: int) -> range:
        """Cuts that a reading depends on."""
        leaves = self.local.sources(reading)
        return range(max(leaves.start - 1, 0), leaves.stop - 1)

    def written(self, row: int) -> Tensor:
        """[d] what one active feature adds at its position: activation times decoder row."""
        cut = int(self.cut[row])
        vector: Tensor = self.local.dictionaries[cut].W_dec[int(self.feature[row])] * float(self.activation[row])
        return vector

    def into_features(self, cut: int, rows: np.ndarray) -> Rows:
        """Edges into active features of one cut, by their rows: targets are the pre-activations."""
        vectors, offsets = self.local.encoder_rows(cut, torch.from_numpy(self.feature[rows]))
        return self.into(cut, rows, torch.from_numpy(self.position[rows]), vectors, offsets)

    @torch.no_grad()
    def into(self, reading: int, targets: np.ndarray, positions: Tensor, vectors: Tensor, offsets: Tensor) -> Rows:
        """Edges into ``vector . reading[position] + offset`` for each of b targets.

        Args:
            reading: number of the cut that reads; the last is the state behind the final norm.
            targets: [b] numbers that are kept in the result.
            positions: [b].
            vectors: [b, d].
            offsets: [b].
        """
        local, leaves = self.local, self.local.sources(reading)
        vectors = vectors.to(local.values.stream)
        parts = self.split(leaves, local.pull_back(reading, positions, vectors))
        constant = (vectors * self._constants[reading][positions]).sum(1) + offsets
        total = (vectors * local.values.readings[reading][0, positions]).sum(1) + offsets
        return Rows(targets, *(part.cpu().numpy() for part in (*parts, constant, total)))

    def split(self, leaves: range, gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What the features [b, features of the leaves' cuts], errors [b, cuts, t] and tokens [b, t] of some leaves give.

        Args:
            leaves: numbered as in ``LocalModel.sources``.
            gradients: of each leaf [b, n, d] by b numbers that are affine in it; n at most t, 0 behind that.
        """
        n_tokens, near = self.local.n_tokens, gradients[0].shape[1]
        features, errors = [gradients[0].new_zeros(len(gradients[0]), 0)], []
        tokens = features[0]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            if leaf == 0:
                tokens = _padded((gradient * self.local.values.stream[0, :near]).sum(2), n_tokens)
                continue
            at = [there @ written.T for there, written in zip(gradient.unbind(1), self._written[leaf - 1])]
            n_features = int(self.starts[leaf] - self.starts[leaf - 1])
            features.append(_padded(torch.cat(at, dim=1), n_features))
            errors.append(_padded((gradient * self._errors[leaf - 1][:near]).sum(2), n_tokens))
        stacked = torch.stack(errors, dim=1) if errors else features[0].new_zeros(len(features[0]), 0, n_tokens)
        return torch.cat(features, dim=1), stacked, tokens

    def _writes(self, cut: int) -> list[Tensor]:
        """For each token [features active there, d] what they add."""
        own = slice(int(self.starts[cut]), int(self.starts[cut + 1]))
        dictionary = self.local.dictionaries[cut]
        values = torch.from_numpy(self.activation[own]).to(dictionary.W_dec)
        rows = dictionary.W_dec[torch.from_numpy(self.feature[own]).to(dictionary.W_dec.device)] * values[:, None]
        counts = np.bincount(self.position[own], minlength=self.local.n_tokens)
        return list(rows.split(counts.tolist()))


def _padded(values: Tensor, length: int) -> Tensor:
    """[b, length]: zeros behind the values [b, n]."""
    return torch.nn.functional.pad(values, (0, length - values.shape[1]))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts)
