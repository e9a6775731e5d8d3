"""Windows of text in which a feature provably does not fire: what descriptions are tested against.

Three tiers, from easy to hard:

- ``random``: from any text;
- ``same_stratum``: from text of the strata in which the feature fires, in proportion to how often it does;
- ``near_miss``: around tokens on which one of the feature's neighbours fires.

Candidates are tokens drawn in a first pass. A second pass reads their windows: only what was seen there at every token
counts, so that a window ends at a token that the collection left out, and the feature must be 0 at all of its tokens.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields

import numpy as np

from ato.errors import MismatchError
from ato.features.coactivation import Neighbours, check_features
from ato.features.excerpts import TIERS
from ato.features.strata import Stratum
from ato.features.token_samples import FeatureTokens, TokenSample
from ato.features.window_index import KnownTokens, WindowIndex, token_key
from ato.numerics.counter_rng import uniforms
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures

_OTHER_DRAW = 0x5EED
"""Pools are drawn apart from the examples of the same seed."""


class TextPool:
    """Accumulates tokens drawn at random from all text, and from each part of it: at most one a sequence.

    Memory is size x parts, whatever the number of tokens; the order and the size of blocks change nothing.

    Args:
        size: tokens kept of all text, and of each part.
        stratum: what divides the text; None keeps those of all text only.
        seed: of the draw.
    """

    def __init__(self, size: int, stratum: Stratum | None = None, *, seed: int = 0):
        self._rule, self._stratum = (size, seed, () if stratum is None else stratum.values), stratum
        n_parts = 0 if stratum is None else len(stratum.values)
        self._sample = TokenSample(1 + n_parts, size, "random", one_per="sequence", seed=seed ^ _OTHER_DRAW)

    def update(self, block: ResidualBlock) -> "TextPool":
        """Take the tokens of a block into account."""
        part, token = np.zeros(block.n, dtype=np.int64), np.arange(block.n)
        if self._stratum is not None:
            code = self._stratum.code_of(block)
            known = np.flatnonzero(code >= 0)
            part, token = np.append(part, 1 + code[known]), np.append(token, known)
        keys = (key[token] for key in (block.sequence_id, block.position, block.token_id, block.document))
        self._sample.add(self._sample.sift(part, np.ones((1, len(part)), dtype=np.float32), *keys))
        return self

    def __add__(self, other: "TextPool") -> "TextPool":
        """The pool of both streams.

        Raises:
            MismatchError: they are drawn by different rules.
        """
        if self._rule != other._rule:
            raise MismatchError("pools of different rules cannot be added", cure="draw them alike")
        total = copy(self)
        total._sample = self._sample + other._sample
        return total

    def result(self) -> FeatureTokens:
        """The tokens; ``feature`` is 0 for all text, and 1 + the number of a part."""
        return self._sample.result()


@dataclass(frozen=True)
class SilentExamples:
    """Silent windows, ordered by feature, tier and rank; every array is [m]."""

    feature_id: np.ndarray
    """int64."""
    tier: np.ndarray
    """One of ``TIERS``."""
    rank: np.ndarray
    """int64, from 1 within feature and tier."""
    neighbour: np.ndarray
    """int64, the feature that fires at the position of a near miss; -1 in other tiers."""
    document: np.ndarray
    """int64."""
    sequence_id: np.ndarray
    """int64."""
    position: np.ndarray
    """int64, of the token that was drawn."""
    start: np.ndarray
    """int64, position of the window's first token."""
    end: np.ndarray
    """int64, position behind its last."""

    def __len__(self) -> int:
        return len(self.feature_id)


class SilentWindows:
    """Accumulates, in the second pass, which chosen features fire in which candidate windows.

    Memory is one bit a candidate window and chosen feature.

    Args:
        d_sae: number of features.
        features: the chosen.
        pool: tokens of a ``TextPool``.
        neighbours: of the chosen features.
        held: active tokens of features, those of the neighbours among them.
        lengths: sequence id -> tokens in the sequence.
        before: tokens of a window before the one that was drawn.
        after: tokens behind it.
    """

    def __init__(
        self,
        d_sae: int,
        features: np.ndarray,
        pool: FeatureTokens,
        neighbours: Neighbours,
        held: FeatureTokens,
        lengths: Mapping[int, int],
        *,
        before: int = 20,
        after: int = 10,
    ):
        assert pool.document is not None
        assert held.document is not None
        self._features, self._neighbours = check_features(features, d_sae), neighbours
        self._column = np.full(d_sae, -1, dtype=np.int64)
        self._column[self._features] = np.arange(len(self._features))
        near = np.isin(held.feature, neighbours.neighbour)
        columns = ((getattr(pool, name), getattr(held, name)[near]) for name in ("sequence_id", "position", "document"))
        sequence, position, document = (np.concatenate([a, b]).astype(np.int64) for a, b in columns)
        _, first, code = np.unique(token_key(sequence, position), return_index=True, return_inverse=True)
        self._sequence, self._document, n_pool = sequence[first], document[first], len(pool.feature)
        self._part, self._of_part = pool.feature, code[:n_pool]
        self._near, self._of_near = _by_feature(held.feature[near], code[n_pool:], d_sae)
        self.index = WindowIndex(self._sequence, position[first], lengths, before, after)
        self._known = KnownTokens(self.index)
        self._fires = np.zeros((len(self.index), -(-len(self._features) // 8)), dtype=np.uint8)

    def take(self, rows: ResidualBlock, active: ActiveFeatures) -> "SilentWindows":
        """Take tokens and their encoding into account; those of no window may be among them."""
        self._known.update(rows)
        column = self._column[active.feature.cpu().numpy()]
        chosen = column >= 0
        token, column = active.token.cpu().numpy()[chosen], column[chosen]
        row, window = self.index.containing(rows.sequence_id[token], rows.position[token])
        column = column[row]
        np.bitwise_or.at(self._fires, (window, column >> 3), (1 << (column & 7)).astype(np.uint8))
        return self

    def __add__(self, other: "SilentWindows") -> "SilentWindows":
        """What was seen in either stream, of the same candidates.

        Raises:
            MismatchError: they have other candidates, or other features.
        """
        same = np.array_equal(self._features, other._features) and np.array_equal(self._sequence, other._sequence)
        if not same or not np.array_equal(self.index.position, other.index.position):
            raise MismatchError("windows of different candidates cannot be added", cure="draw them alike")
        total = copy(self)
        total._fires = self._fires | other._fires
        total._known = self._known + other._known
        return total

    def choose(
        self,
        n: int,
        *,
        shares: np.ndarray | None = None,
        avoid: Mapping[int, np.ndarray] | None = None,
        seed: int = 0,
    ) -> SilentExamples:
        """Up to n silent windows of each chosen feature and tier: of as many documents as there are, one a sequence.

        Args:
            n: windows of a feature and tier.
            shares: [d_sae, parts] how a feature's active tokens are spread over the parts of the pool's stratum; None,
                and a row of NaN, give no window of ``same_stratum``.
            avoid: feature -> documents that give it none, such as those of its examples.
            seed: of the draw.
        """
        start, end = self._known.runs()
        avoid, chosen = avoid or {}, []
        for column, feature in enumerate(self._features):
            fires = (self._fires[:, column >> 3] >> (column & 7)) & 1
            free = (fires == 0) & (end > start)
            free &= ~np.isin(self._document, avoid.get(int(feature), ()))
            draw = uniforms(seed, int(feature), self._sequence, self.index.position)
            for tier in reversed(TIERS):  # the hardest first: a sequence gives a feature one silent window at most
                window, weight, neighbour = self._candidates(int(feature), tier, shares)
                kept = free[window] & (weight > 0)
                window, weight, neighbour = window[kept], weight[kept], neighbour[kept]
                first = self._first(window, -np.log1p(-draw[window]) / weight, n)
                chosen.append((np.full(len(first), feature), tier, neighbour[first], window[first]))
                free &= ~np.isin(self._sequence, self._sequence[window[first]])
        return self._examples(chosen, start, end)

    def _candidates(self, feature: int, tier: str, shares: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Windows [k] that may belong to a tier, with their weights and neighbours."""
        if tier == "near_miss":
            own = self._neighbours.neighbour[self._neighbours.feature_id == feature]
            own = np.unique(own)
            parts = [self._of_near[self._near[g] : self._near[g + 1]] for g in own]
            window = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
            return window, np.ones(len(window)), np.repeat(own, [len(part) for part in parts])
        if tier == "random":
            window = self._of_part[self._part == 0]
            return window, np.ones(len(window)), np.full(len(window), -1)
        inside = self._part > 0
        window, part = self._of_part[inside], self._part[inside].astype(np.int64) - 1
        if shares is None:
            return window[:0], np.zeros(0), window[:0]
        # A part's windows share its weight, however many there are.
        share = np.nan_to_num(shares[feature]) / np.maximum(np.bincount(part, minlength=shares.shape[1]), 1)
        return window, share[part], np.full(len(window), -1)

    def _first(self, window: np.ndarray, priority: np.ndarray, n: int) -> np.ndarray:
        """Index of the n windows of smallest priority: one a sequence, each document's first before second ones."""
        order = np.lexsort((window, priority))
        order = order[np.sort(np.unique(self._sequence[window[order]], return_index=True)[1])]
        document = self._document[window[order]]
        by_document = np.argsort(document, kind="stable")
        turn = np.empty(len(order), dtype=np.int64)
        turn[by_document] = np.arange(len(order)) - np.searchsorted(document[by_document], document[by_document])
        return order[np.argsort(turn, kind="stable")[:n]]

    def _examples(self, chosen: list[tuple], start: np.ndarray, end: np.ndarray) -> SilentExamples:
        nothing = np.zeros(0, dtype=np.int64)
        feature, tier, neighbour, window = zip((nothing, "", nothing, nothing), *chosen, strict=True)
        counts = [len(part) for part in window]
        at = np.concatenate(window)
        columns = (
            np.concatenate(feature),
            np.repeat(np.array(tier, dtype="<U12"), counts),
            np.concatenate([np.arange(count) + 1 for count in counts]),
            np.concatenate(neighbour),
            self._document[at],
            self._sequence[at],
            self.index.position[at],
            start[at],
            end[at],
        )
        order = np.lexsort((columns[2], columns[1], columns[0]))
        return SilentExamples(**{f.name: c[order] for f, c in zip(fields(SilentExamples), columns, strict=True)})


def _by_feature(feature: np.ndarray, window: np.ndarray, d_sae: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each feature's windows begin [d_sae + 1], and the windows ordered by feature."""
    order = np.lexsort((window, feature))
    return np.append(0, np.cumsum(np.bincount(feature, minlength=d_sae))), window[order]
