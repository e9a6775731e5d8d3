"""Activation statistics of every feature of an SAE over a stream of tokens."""

from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.features.document_sets import DocumentsOfFeatures
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.feature_source import FeatureSource


@dataclass(frozen=True)
class ActivationStatistics:
    """Columns of the table ``feature_stats`` beside the keys, each [d_sae].

    Of a feature that was never active, ``mean_activation``, ``std_activation`` and ``max_activation`` are NaN and
    ``max_sequence_id`` and ``max_position`` are -1: missing, NULL in the table.
    """

    feature_id: np.ndarray
    """int32."""
    n_tokens: np.ndarray
    """int64, tokens looked at."""
    n_active: np.ndarray
    """int64, tokens on which the feature is active."""
    activation_rate: np.ndarray
    n_documents_active: np.ndarray
    """int64."""
    mean_activation: np.ndarray
    """Over active tokens."""
    std_activation: np.ndarray
    max_activation: np.ndarray
    max_sequence_id: np.ndarray
    """int64, where that was."""
    max_position: np.ndarray
    """int32."""
    decoder_norm: np.ndarray


class FeatureStats:
    """Accumulates the columns of the table ``feature_stats`` for one SAE.

    Memory is d_sae times a few numbers and one bit a feature and document, whatever the number of tokens.

    Args:
        sae: the SAE, or what else has features; its own encoder decides what is active.
        layer: layer whose residuals it reads.
    """

    def __init__(self, sae: FeatureSource, layer: int):
        self._sae, self._layer = sae, layer
        width = sae.d_sae
        self.n_tokens = 0
        self._count = np.zeros(width, dtype=np.int64)
        self._sum, self._squares = np.zeros(width), np.zeros(width)
        # The first active token's value: squares are summed about it, so that the variance of a feature whose
        # activations are large and nearly equal does not cancel.
        self._pilot = np.full(width, np.nan)
        self._max = np.zeros(width)
        self._max_sequence, self._max_position = np.full(width, -1, np.int64), np.full(width, -1, np.int64)
        self._documents = DocumentsOfFeatures(width)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "FeatureStats":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        active = self._sae.active(block.residuals[self._layer]) if active is None else active
        self.n_tokens += active.n
        if len(active.token) == 0:
            return self
        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        value = active.value.cpu().numpy().astype(np.float64)
        self._set_pilots(feature, value)
        width, shifted = self._sae.d_sae, value - self._pilot[feature]
        self._count += np.bincount(feature, minlength=width)
        self._sum += np.bincount(feature, shifted, minlength=width)
        self._squares += np.bincount(feature, shifted**2, minlength=width)
        self._documents.update(block.document[token], feature)
        self._note_maxima(feature, value, block.sequence_id[token], block.position[token])
        return self

    def __add__(self, other: "FeatureStats") -> "FeatureStats":
        """Statistics of both streams.

        Raises:
            MismatchError: they are of different SAEs or layers.
        """
        if (self._sae.weights_hash, self._layer) != (other._sae.weights_hash, other._layer):
            raise MismatchError("feature statistics of different SAEs cannot be added", cure="add those of one SAE")
        total = FeatureStats(self._sae, self._layer)
        for part in (self, other):
            total.n_tokens += part.n_tokens
            fresh = np.isnan(total._pilot)
            total._pilot[fresh] = part._pilot[fresh]
            known = part._count > 0
            shift = np.where(known, part._pilot - total._pilot, 0.0)
            total._count += part._count
            total._sum += part._sum + part._count * shift
            total._squares += part._squares + 2 * shift * part._sum + part._count * shift**2
            total._take_larger(
                np.flatnonzero(known), part._max[known], part._max_sequence[known], part._max_position[known]
            )
            total._documents.merge(part._documents)
        return total

    def result(self) -> ActivationStatistics:
        """The statistics over all tokens seen."""
        count = self._count
        n = np.where(count > 0, count, np.nan)
        mean_shifted = self._sum / n
        return ActivationStatistics(
            feature_id=np.arange(self._sae.d_sae, dtype=np.int32),
            n_tokens=np.full(self._sae.d_sae, self.n_tokens, dtype=np.int64),
            n_active=count.copy(),
            activation_rate=count / max(self.n_tokens, 1),
            n_documents_active=self._documents.counts(),
            mean_activation=self._pilot + mean_shifted,
            std_activation=np.sqrt(np.maximum(self._squares / n - mean_shifted**2, 0.0)),
            max_activation=np.where(count > 0, self._max, np.nan),
            max_sequence_id=self._max_sequence.copy(),
            max_position=self._max_position.astype(np.int32),
            decoder_norm=self._sae.decoder_norms.double().cpu().numpy(),
        )

    def _set_pilots(self, feature: np.ndarray, value: np.ndarray) -> None:
        present, first = np.unique(feature, return_index=True)
        fresh = np.isnan(self._pilot[present])
        self._pilot[present[fresh]] = value[first[fresh]]

    def _note_maxima(self, feature: np.ndarray, value: np.ndarray, sequence: np.ndarray, position: np.ndarray) -> None:
        largest = self._max.copy()
        np.maximum.at(largest, feature, value)
        of_largest = np.flatnonzero(value == largest[feature])
        feature, value = feature[of_largest], value[of_largest]
        sequence, position = sequence[of_largest], position[of_largest]
        order = np.lexsort((position, sequence, feature))
        first = order[np.flatnonzero(np.diff(feature[order], prepend=-1))]
        self._take_larger(feature[first], value[first], sequence[first], position[first])

    def _take_larger(self, feature: np.ndarray, value: np.ndarray, sequence: np.ndarray, position: np.ndarray) -> None:
        # Of equal values the one with the smallest (sequence, position) counts, whatever the order of blocks.
        held = self._max_sequence[feature], self._max_position[feature]
        earlier = (sequence < held[0]) | ((sequence == held[0]) & (position < held[1]))
        larger = (value > self._max[feature]) | ((value == self._max[feature]) & earlier) | (held[0] < 0)
        chosen = feature[larger]
        self._max[chosen] = value[larger]
        self._max_sequence[chosen], self._max_position[chosen] = sequence[larger], position[larger]
