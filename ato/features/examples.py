"""Examples of selected features: which tokens, and windows of text around them with the feature's activations."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError, MismatchError
from ato.features.token_samples import FeatureTokens, TokenSample
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

_SAMPLE_OF_QUANTILE = 32
"""Tokens sampled a feature for each activation quantile."""


@dataclass(frozen=True)
class Examples:
    """Tokens that stand as examples of features; every array is [e], ordered by feature, kind and rank."""

    feature_id: np.ndarray
    """int64."""
    kind: np.ndarray
    """top, random or quantile."""
    rank: np.ndarray
    """int64, from 1 within feature and kind."""
    quantile: np.ndarray
    """Upper end of the activation quantile; NaN for other kinds."""
    sequence_id: np.ndarray
    """int64."""
    position: np.ndarray
    """int64."""
    activation: np.ndarray
    """float64."""

    def __len__(self) -> int:
        return len(self.feature_id)


class ExampleTokens:
    """Accumulates what examples of every feature are chosen from, before anybody knows which features are selected.

    Memory is d_sae x (n_top + sample), whatever the number of tokens; the order and the size of blocks change nothing.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
        n_top: strongest tokens, at most one a sequence.
        n_random: tokens at random.
        n_quantiles: activation quantiles, one token each.
        seed: of what is drawn at random.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        layer: int,
        n_top: int = 10,
        n_random: int = 5,
        n_quantiles: int = 4,
        *,
        seed: int = 0,
    ):
        self._sae, self._layer = sae, layer
        self._counts, self._seed = (n_top, n_random, n_quantiles), seed
        self._top = TokenSample(sae.d_sae, max(n_top, 1), one_per_sequence=True)
        size = max(n_random, _SAMPLE_OF_QUANTILE * n_quantiles, 1)
        self._sample = TokenSample(sae.d_sae, size, order="random", seed=seed)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "ExampleTokens":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        active = self._sae.active(block.residuals[self._layer]) if active is None else active
        self._top.update(block, active)
        self._sample.update(block, active)
        return self

    def __add__(self, other: "ExampleTokens") -> "ExampleTokens":
        """What both streams offer.

        Raises:
            MismatchError: they are of different SAEs or layers, or keep different numbers of tokens.
        """
        if (self._sae.weights_hash, self._layer) != (other._sae.weights_hash, other._layer):
            raise MismatchError("examples of different SAEs cannot be added", cure="add those of one SAE")
        total = ExampleTokens(self._sae, self._layer, *self._counts, seed=self._seed)
        total._top, total._sample = self._top + other._top, self._sample + other._sample
        return total

    def choose(self, features: np.ndarray) -> Examples:
        """The examples of some features; a feature with fewer active tokens has fewer of them.

        A quantile's example is the first by random priority of the tokens in its band: the k-th of q equal parts of
        the sampled tokens, ordered by activation.

        Raises:
            InputError: a feature beyond d_sae.
        """
        if len(features) and not 0 <= min(features) <= max(features) < self._sae.d_sae:
            raise InputError(
                f"the SAE has no feature {max(features)}",
                cure=f"use features 0 to {self._sae.d_sae - 1}",
            )
        n_top, n_random, n_quantiles = self._counts
        top, sample = self._top.result(), self._sample.result()
        parts = [
            _rows(top, np.isin(top.feature, features) & (top.rank < n_top), "top"),
            _rows(sample, np.isin(sample.feature, features) & (sample.rank < n_random), "random"),
        ]
        if n_quantiles:
            parts.append(_quantiles(sample, np.isin(sample.feature, features), n_quantiles))
        columns = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        order = np.lexsort((columns[2], columns[1], columns[0]))
        return Examples(*(column[order] for column in columns))


def _rows(tokens: FeatureTokens, mask: np.ndarray, kind: str) -> tuple[np.ndarray, ...]:
    n = int(mask.sum())
    keys = (a[mask].astype(np.int64) for a in (tokens.sequence_id, tokens.position))
    return (
        tokens.feature[mask].astype(np.int64),
        np.full(n, kind, dtype="<U8"),
        tokens.rank[mask] + 1,
        np.full(n, np.nan),
        *keys,
        tokens.value[mask].astype(np.float64),
    )


def _quantiles(sample: FeatureTokens, mask: np.ndarray, n_quantiles: int) -> tuple[np.ndarray, ...]:
    rows = np.flatnonzero(mask)
    keys = sample.position[rows], sample.sequence_id[rows], sample.value[rows], sample.feature[rows]
    rows = rows[np.lexsort(keys)]
    feature = sample.feature[rows].astype(np.int64)
    _, first, counts = np.unique(feature, return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(first, counts)
    band = place * n_quantiles // np.repeat(counts, counts)
    group = feature * n_quantiles + band
    order = np.lexsort((sample.rank[rows], group))
    chosen = order[np.append(True, np.diff(group[order]) != 0)[: len(order)]]
    feature, band, rows = feature[chosen], band[chosen], rows[chosen]
    number = np.arange(len(rows)) - np.searchsorted(feature, feature)  # bands that no token fell into have no number
    return (
        feature,
        np.full(len(rows), "quantile", dtype="<U8"),
        number + 1,
        (band + 1) / n_quantiles,
        sample.sequence_id[rows],
        sample.position[rows].astype(np.int64),
        sample.value[rows].astype(np.float64),
    )


class ExampleWindows:
    """Accumulates, in a second pass, the activations of each example's feature at every token of its window.

    Only tokens of a window are encoded.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
        examples: whose windows are wanted.
        lengths: sequence id -> tokens in the sequence; windows are cut at its ends.
        before: tokens of a window before the example's.
        after: tokens behind it.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        layer: int,
        examples: Examples,
        lengths: Mapping[int, int],
        *,
        before: int = 20,
        after: int = 10,
    ):
        self._sae, self._layer, self._examples = sae, layer, examples
        length = np.array([lengths[int(s)] for s in examples.sequence_id], dtype=np.int64)
        self.start = np.maximum(examples.position - before, 0)
        """[e] position of each window's first token."""
        self.end = np.minimum(examples.position + after + 1, length)
        """[e] position behind its last."""
        self._activations = np.zeros((len(examples), before + after + 1), dtype=np.float32)
        pair = examples.sequence_id * sae.d_sae + examples.feature_id
        self._by_pair = np.argsort(pair, kind="stable")
        self._pair = pair[self._by_pair]
        wanted = [
            _token_key(s, np.arange(a, b)) for s, a, b in zip(examples.sequence_id, self.start, self.end, strict=True)
        ]
        self._wanted = np.unique(np.concatenate(wanted)) if wanted else np.zeros(0, dtype=np.int64)

    def update(self, block: ResidualBlock) -> "ExampleWindows":
        """Take a block into account."""
        mask = np.isin(_token_key(block.sequence_id, block.position), self._wanted, assume_unique=True)
        if not mask.any():
            return self
        rows = block.at([self._layer]).select(mask)
        active = self._sae.active(rows.residuals[self._layer])
        token = active.token.cpu().numpy()
        pair = rows.sequence_id[token] * self._sae.d_sae + active.feature.cpu().numpy()
        first, last = np.searchsorted(self._pair, pair), np.searchsorted(self._pair, pair, side="right")
        # An activation may lie in several windows of its feature and sequence.
        times = last - first
        source = np.repeat(np.arange(len(pair)), times)
        within = np.arange(len(source)) - np.repeat(np.cumsum(times) - times, times)
        window = self._by_pair[first[source] + within]
        position, value = rows.position[token][source], active.value.cpu().numpy()[source]
        inside = (position >= self.start[window]) & (position < self.end[window])
        window, position = window[inside], position[inside]
        self._activations[window, position - self.start[window]] = value[inside]
        return self

    def __add__(self, other: "ExampleWindows") -> "ExampleWindows":
        """The activations that either has seen, of the same windows.

        Raises:
            MismatchError: they hold windows of other examples.
        """
        same = np.array_equal(self._pair, other._pair) and np.array_equal(self.start, other.start)
        if not same or self._sae.weights_hash != other._sae.weights_hash:
            raise MismatchError(
                "windows of different examples cannot be added", cure="build them from the same examples"
            )
        total = copy(self)
        total._activations = np.maximum(self._activations, other._activations)
        return total

    def result(self) -> list[np.ndarray]:
        """The activations [end - start] float32 of each example's window; 0 where the feature is silent."""
        return [row[:n] for row, n in zip(self._activations, self.end - self.start, strict=True)]


def _token_key(sequence_id: np.ndarray | int, position: np.ndarray) -> np.ndarray:
    """One number a token: sequences are shorter than 2^24 tokens."""
    return (np.asarray(sequence_id, dtype=np.int64) << 24) + position
