"""Families of features across two layers: decoder cosine, transport and agreement of activations, side by side."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ato.errors import MismatchError
from ato.features.document_sets import DocumentsOfFeatures
from ato.numerics.document_sums import Segments
from ato.numerics.intervals import Estimate, EstimateArray, document_interval
from ato.numerics.scales import CORRELATION, PLAIN, SHARE, UNEXPLAINED, Scale
from ato.operators.operator import TransportOperator
from ato.residuals.blocks import ResidualBlock
from ato.sae_studies.family_results import FamilyMatch, FamilySettings, FamilySummary, FeatureFamilies
from ato.sae_studies.matches import direction_matches
from ato.sae_studies.pair_sums import PairSums, agreement, correlation, r2, rank_correlation
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

DOCUMENT_GROUPS = 64
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
_ROWS = 1024
"""Tokens whose projections are held at once."""
_CHUNK_FEATURES = 512


class Families:
    """Compares the features of SAEs at two layers, in one pass over held-out tokens.

    Memory is 17 float64 x 64 groups of documents a feature, and 4 bytes a pair of features for the tokens on which both
    are active (67 MB for 4,096 x 4,096), whatever the number of tokens.

    Args:
        source: layer and SAE.
        target: likewise.
        operator: from the residuals of the source layer to those of the target layer.
        settings: default ``FamilySettings()``.

    Raises:
        MismatchError: SAEs and operator of different widths or layers.
    """

    def __init__(
        self,
        source: tuple[int, SparseAutoencoder],
        target: tuple[int, SparseAutoencoder],
        operator: TransportOperator,
        settings: FamilySettings | None = None,
    ):
        self._source_layer, self._source = source
        self._target_layer, self._target = target
        self._operator, self._settings = operator, settings or FamilySettings()
        layers = (operator.source_layer, operator.target_layer)
        if any(known not in (None, layer) for known, layer in zip(layers, (source[0], target[0]))):
            raise MismatchError(
                f"operator of {layers[0]} -> {layers[1]} used for {source[0]} -> {target[0]}",
                cure="give the operator of these layers",
            )
        self._directions = direction_matches(self._source, self._target, operator, self._settings.seed)
        self._partner = np.stack([match.source_feature.clip(min=0) for match in self._directions.values()])
        self.n_tokens = 0
        self._numbers: set[int] = set()
        self._documents = DocumentsOfFeatures(self._target.d_sae)
        self._sums = PairSums.zeros(DOCUMENT_GROUPS, self._partner, self._source.d_sae)
        self._together = np.zeros((self._target.d_sae, self._source.d_sae), dtype=np.int32)

    def update(self, block: ResidualBlock) -> "Families":
        """Take a block with the residuals of both layers into account."""
        y, x = block.residuals[self._target_layer], block.residuals[self._source_layer]
        target, source = self._target.active(y), self._source.active(x)
        self.n_tokens += target.n
        self._numbers.update(np.unique(block.document).tolist())
        token, feature = target.token.cpu().numpy(), target.feature.cpu().numpy()
        self._documents.update(block.document[token], feature)
        self._together += (_sparse(target, self._target.d_sae).T @ _sparse(source, self._source.d_sae)).toarray()
        n_parts = max(1, -(-block.n // _ROWS))
        directions = self._target.decoder_directions
        for (rows, of_target), (_, of_source) in zip(target.split(n_parts), source.split(n_parts)):
            group = block.document[rows] % DOCUMENT_GROUPS
            shifted = y[rows].to(directions) - self._target.b_dec
            projection = (shifted @ directions.T).double()
            segments = Segments.of(group)
            arranged = segments.arrange(projection)
            self._sums.add_projections(
                segments.documents,
                np.array(segments.lengths),
                segments.sums(arranged),
                segments.sums(arranged.square()),
            )
            self._sums.add_activations(group, of_target, of_source, projection.cpu().numpy())
        return self

    def __add__(self, other: "Families") -> "Families":
        """The same over both streams.

        Raises:
            MismatchError: other SAEs, layers, operators or settings.
        """
        if self._identity() != other._identity() or not np.array_equal(self._operator.matrix, other._operator.matrix):
            raise MismatchError("families of other SAEs or operators", cure="add those of one pair of layers")
        source, target = (self._source_layer, self._source), (self._target_layer, self._target)
        total = Families(source, target, self._operator, self._settings)
        for part in (self, other):
            total.n_tokens += part.n_tokens
            total._numbers |= part._numbers
            total._documents.merge(part._documents)
            total._sums.merge(part._sums)
            total._together += part._together
        return total

    def _identity(self) -> tuple:
        hashes = self._source.weights_hash, self._target.weights_hash
        return (*hashes, self._source_layer, self._target_layer, self._settings)

    def result(self) -> FeatureFamilies:
        """The families over all tokens seen."""
        names = list(self._directions)
        matches = {name: self._match(name, row) for row, name in enumerate(names)}
        n_target, n_source = self._sums.n_target.sum(0), self._sums.n_source.sum(0)
        best_feature, best = self._best(n_target, n_source)
        first = matches["cosine"]
        high = first.direction.cosine >= self._settings.high_cosine
        return FeatureFamilies(
            feature_id=np.arange(self._target.d_sae, dtype=np.int32),
            n_tokens=self.n_tokens,
            n_documents=len(self._numbers),
            n_active=n_target.astype(np.int64),
            n_documents_active=self._documents.counts(),
            matches=matches,
            best_feature=best_feature,
            best_agreement=best,
            disagrees=high & (first.agreement.value < self._settings.low_agreement),
            summary=self._summary(matches, high),
            reason=self._reasons(n_target, n_source),
        )

    def _match(self, name: str, row: int) -> FamilyMatch:
        partner, direction = self._partner[row], self._directions[name]
        known = direction.source_feature >= 0

        def estimates(score: Callable[[PairSums], np.ndarray], scale: Scale) -> EstimateArray:
            parts = []
            for start in range(0, self._target.d_sae, _CHUNK_FEATURES):
                sums = self._sums.of_pairs(row, slice(start, start + _CHUNK_FEATURES))
                parts.append(document_interval(sums, score, np.broadcast_to(sums.n, sums.n_target.shape), scale))
            columns = (np.concatenate([getattr(part, end) for part in parts]) for end in ("value", "low", "high"))
            return EstimateArray(*(np.where(known, column, np.nan) for column in columns))

        p, q = (n.sum(0) / max(self.n_tokens, 1) for n in (self._sums.n_target, self._sums.n_source[:, partner]))
        with np.errstate(divide="ignore", invalid="ignore"):
            by_chance = np.where(known, p * q / (p + q - p * q), np.nan)
        return FamilyMatch(
            direction=direction,
            n_active_source=self._sums.n_source[:, partner].sum(0).astype(np.int64),
            n_both=self._sums.both[:, row].sum(0).astype(np.int64),
            agreement=estimates(agreement, SHARE),
            agreement_by_chance=by_chance,
            correlation=estimates(correlation, CORRELATION),
            r2=estimates(r2, UNEXPLAINED),
        )

    def _best(self, n_target: np.ndarray, n_source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source feature with the largest Jaccard index of each target feature, and that index."""
        feature, value = np.full(len(n_target), -1), np.full(len(n_target), np.nan)
        for start in range(0, len(n_target), _CHUNK_FEATURES):
            together = self._together[start : start + _CHUNK_FEATURES].astype(np.float64)
            union = n_target[start : start + _CHUNK_FEATURES, None] + n_source - together
            index = together / np.maximum(union, 1)
            best = index.argmax(1)
            largest = index[np.arange(len(best)), best]
            part = slice(start, start + len(best))
            active = n_target[part] > 0
            feature[part] = np.where(active & (largest > 0), best, -1)
            value[part] = np.where(active, largest, np.nan)
        return feature, value

    def _summary(self, matches: dict[str, FamilyMatch], high: np.ndarray) -> FamilySummary:
        by_cosine, by_transport = matches["cosine"].direction, matches["transport"].direction
        rows = {name: row for row, name in enumerate(matches)}

        def estimate(
            name: str, chosen: np.ndarray, score: Callable[[np.ndarray], np.ndarray], scale: Scale
        ) -> Estimate:
            """Of the agreements [b, m] of the chosen pairs that have one."""
            own = np.flatnonzero(chosen & np.isfinite(matches[name].agreement.value))
            if not len(own):
                return Estimate(None)
            sums = self._sums.of_pairs(rows[name], own)
            return document_interval(sums, lambda part: score(agreement(part)), sums.n[:, 0], scale).item()

        def median(name: str) -> Estimate:
            return estimate(name, everything, lambda found: np.nanmedian(found, axis=1), SHARE)

        def ranks(name: str, against: np.ndarray) -> Estimate:
            own = np.isfinite(against) & np.isfinite(matches[name].agreement.value)
            if own.sum() < 3:
                return Estimate(None)
            return estimate(name, own, lambda found: rank_correlation(found, against[own]), CORRELATION)

        low, everything = self._settings.low_agreement, np.ones_like(high)
        known = np.isfinite(matches["cosine"].agreement.value)
        return FamilySummary(
            n_features=int(known.sum()),
            median_cosine=_median(by_cosine.cosine[known]),
            median_transport_cosine=_median(by_transport.transport_cosine[known]),
            median_agreement=median("cosine"),
            median_agreement_transport=median("transport"),
            median_agreement_random=median("random"),
            n_high_cosine=int((high & known).sum()),
            share_disagreeing=estimate("cosine", high, lambda found: (found < low).mean(1), PLAIN),
            rank_correlation=ranks("cosine", by_cosine.cosine),
            rank_correlation_transport=ranks("transport", by_transport.transport_cosine),
        )

    def _reasons(self, n_target: np.ndarray, n_source: np.ndarray) -> np.ndarray:
        reason = np.full(len(n_target), None, dtype=object)
        reason[n_source[self._partner[0]] == 0] = "the source feature of the largest cosine is never active"
        reason[n_target == 0] = "active on no token"
        reason[self._directions["cosine"].source_feature < 0] = "its decoder row is zero"
        return reason


def _sparse(active: ActiveFeatures, d_sae: int) -> Any:
    """[tokens, d_sae] 1 where a feature is active."""
    from scipy.sparse import csr_array

    starts = np.searchsorted(active.token.cpu().numpy(), np.arange(active.n + 1))
    feature = active.feature.cpu().numpy()
    return csr_array((np.ones(len(feature), dtype=np.int32), feature, starts), shape=(active.n, d_sae))


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")
