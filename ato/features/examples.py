"""Examples of selected features: which tokens, and windows of text around them with the feature's activations."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError, MismatchError
from ato.features.token_samples import FeatureTokens, OnePer, TokenSample
from ato.features.window_index import WindowIndex
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.feature_source import FeatureSource

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
    document: np.ndarray | None = None
    """int64; of examples that are chosen one a document."""

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
        one_per: what the strongest are drawn from, one each. With ``document``, all kinds are, and no document gives a
            feature two examples: random ones are of other documents than those of the quantiles, and these of others
            than the strongest.
        seed: of what is drawn at random.
    """

    def __init__(
        self,
        sae: FeatureSource,
        layer: int,
        n_top: int = 10,
        n_random: int = 5,
        n_quantiles: int = 4,
        *,
        one_per: OnePer = "sequence",
        seed: int = 0,
    ):
        self._sae, self._layer = sae, layer
        self._counts, self._one_per, self._seed = (n_top, n_random, n_quantiles), one_per, seed
        self._top = TokenSample(sae.d_sae, max(n_top, 1), one_per=one_per)
        by_document = one_per == "document"
        least = n_random + n_top + n_quantiles if by_document else n_random
        self._sample = TokenSample(
            sae.d_sae,
            max(least, _SAMPLE_OF_QUANTILE * n_quantiles, 1),
            order="random",
            one_per="document" if by_document else None,
            seed=seed,
        )

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
        total = ExampleTokens(self._sae, self._layer, *self._counts, one_per=self._one_per, seed=self._seed)
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
        free = np.isin(sample.feature, features)
        chosen = [_of_kind(top, np.flatnonzero(np.isin(top.feature, features) & (top.rank < n_top)), "top")]
        if n_quantiles:
            free = free & ~_shares_document(sample, chosen)
            chosen.append(_quantiles(sample, free, n_quantiles))
        rows = np.flatnonzero(free & ~_shares_document(sample, chosen))
        place = _number_within(sample.feature[rows])
        chosen.append(_of_kind(sample, rows[place < n_random], "random"))
        columns = {name: np.concatenate([getattr(one, name) for one in chosen]) for name in _COLUMNS}
        documents = [one.document for one in chosen if one.document is not None and self._one_per == "document"]
        order = np.lexsort((columns["rank"], columns["kind"], columns["feature_id"]))
        document = np.concatenate(documents)[order] if documents else None
        return Examples(**{name: column[order] for name, column in columns.items()}, document=document)

    def sampled(self) -> FeatureTokens:
        """Active tokens of every feature that were drawn at random, those that examples are chosen from among them."""
        return self._sample.result()


_COLUMNS = ("feature_id", "kind", "rank", "quantile", "sequence_id", "position", "activation")


def _of_kind(tokens: FeatureTokens, rows: np.ndarray, kind: str, quantile: np.ndarray | None = None) -> Examples:
    """Rows of a sample, ordered by feature and rank, as examples of one kind."""
    feature = tokens.feature[rows].astype(np.int64)
    return Examples(
        feature,
        np.full(len(rows), kind, dtype="<U8"),
        _number_within(feature) + 1,
        np.full(len(rows), np.nan) if quantile is None else quantile,
        tokens.sequence_id[rows].astype(np.int64),
        tokens.position[rows].astype(np.int64),
        tokens.value[rows].astype(np.float64),
        None if tokens.document is None else tokens.document[rows],
    )


def _number_within(feature: np.ndarray) -> np.ndarray:
    """[m] from 0 within each feature; features are ascending."""
    return np.arange(len(feature)) - np.searchsorted(feature, feature)


def _shares_document(sample: FeatureTokens, chosen: list[Examples]) -> np.ndarray:
    """[m] whether a token's feature has an example of its document already; never where documents do not matter."""
    if sample.document is None:
        return np.zeros(len(sample.feature), dtype=bool)
    n_documents = sample.document.max(initial=0) + 1
    taken = [one.feature_id * n_documents + one.document for one in chosen if one.document is not None]
    return np.isin(sample.feature * n_documents + sample.document, np.concatenate(taken))


def _quantiles(sample: FeatureTokens, mask: np.ndarray, n_quantiles: int) -> Examples:
    rows = np.flatnonzero(mask)
    keys = sample.position[rows], sample.sequence_id[rows], sample.value[rows], sample.feature[rows]
    rows = rows[np.lexsort(keys)]
    feature = sample.feature[rows].astype(np.int64)
    _, counts = np.unique(feature, return_counts=True)
    band = _number_within(feature) * n_quantiles // np.repeat(counts, counts)
    group = feature * n_quantiles + band
    order = np.lexsort((sample.rank[rows], group))
    first = order[np.append(True, np.diff(group[order]) != 0)[: len(order)]]
    # Bands that no token fell into have no number.
    return _of_kind(sample, rows[first], "quantile", (band[first] + 1) / n_quantiles)


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
        sae: FeatureSource,
        layer: int,
        examples: Examples,
        lengths: Mapping[int, int],
        *,
        before: int = 20,
        after: int = 10,
    ):
        self._sae, self._layer, self.examples = sae, layer, examples
        self.index = WindowIndex(examples.sequence_id, examples.position, lengths, before, after)
        self.start, self.end = self.index.start, self.index.end
        """[e] position of each window's first token, and the one behind its last."""
        self._activations = np.zeros((len(examples), before + after + 1), dtype=np.float32)
        # What the first pass read stays, should a second encoding round it to below the threshold.
        self._activations[np.arange(len(examples)), examples.position - self.start] = examples.activation
        pair = examples.sequence_id * sae.d_sae + examples.feature_id
        self._by_pair = np.argsort(pair, kind="stable")
        self._pair = pair[self._by_pair]

    def update(self, block: ResidualBlock) -> "ExampleWindows":
        """Take a block into account."""
        mask = self.index.wanted(block)
        if not mask.any():
            return self
        rows = block.at([self._layer]).select(mask)
        return self.take(rows, self._sae.active(rows.residuals[self._layer]))

    def take(self, rows: ResidualBlock, active: ActiveFeatures) -> "ExampleWindows":
        """Take tokens into account that are encoded already."""
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
