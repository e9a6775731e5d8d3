"""How well operators predict each SAE feature of the target layer on the tokens where the SAE activates it."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ato.errors import MismatchError
from ato.evaluation.active_ceilings import ActiveCeilings, Predictions
from ato.evaluation.active_projections import ActiveProjections, Projections
from ato.evaluation.feature_averages import FeatureAverages, FeatureAveraging, feature_averages
from ato.evaluation.feature_q_values import judged_only, q_values
from ato.evaluation.feature_scores import FeatureScores, R2Sums, point_scores, r2
from ato.evaluation.feature_sums import FeatureSums, sums_of_tokens
from ato.evaluation.verdicts import verdicts
from ato.features.document_sets import DocumentsOfFeatures
from ato.features.token_samples import Candidates, TokenSample
from ato.numerics.intervals import EstimateArray, Jackknife, jackknife
from ato.numerics.parallel import one_openmp_thread, run_tasks
from ato.numerics.scales import UNEXPLAINED
from ato.operators.operator import TransportOperator
from ato.residuals.blocks import ResidualBlock
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

DOCUMENT_GROUPS = 256
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
SAMPLED_TOKENS = 256
"""Active tokens a feature of which the mean absolute deviations are taken."""
_CHUNK_FEATURES = 256
_PART_PAIRS = 8192
"""Active pairs of a block that are worth a thread of their own."""


class FeatureTransport:
    """Accumulates scores of several operators on the features of one SAE at their common target layer.

    With u the unit decoder row of a feature, a = y.u and a_hat = y_hat.u, over the active tokens of the feature:
    r2 = 1 - sum (a - a_hat)^2 / sum (a - mean a)^2 with its interval by document, skill against the
    identity (y_hat = x) and the further metrics of the table ``feature_transport``.

    Everything is kept as float64 sums: memory is (3 + operators) x documents (256 at most: beyond that, groups of
    documents with equal numbers modulo 256 are left out together) x features, whatever the number of tokens.
    Projections are taken of the residuals minus ``b_dec``, which is near their mean: what is left is small, so
    float32 products lose nothing and sums of squares do not cancel.

    ``mad_ratio`` needs the mean before the deviations, so it is taken over a random sample of 256 active tokens of
    each feature, or all where there are no more (see ``TokenSample``). For the ceilings, see ``ActiveCeilings``.

    Args:
        sae: the SAE at the target layer.
        target_layer: layer of y.
        operators: name -> (source layer, operator).
        combined: name of an operator -> names of those from the same source whose predictions its ceiling combines,
            beside x; the others have no ceiling.
        dtype: precision of the projections; float64 for exact comparisons.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        target_layer: int,
        operators: Mapping[str, tuple[Layer, TransportOperator]],
        *,
        combined: Mapping[str, Sequence[str]] | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self._sae, self._target = sae, target_layer
        self._sources = {name: source for name, (source, _) in operators.items()}
        self._projections = ActiveProjections(sae, target_layer, operators, dtype)
        self._shift = sae.b_dec.double() @ sae.decoder_directions.T.double()
        self.n_tokens = 0
        self._documents = DocumentsOfFeatures(sae.d_sae)
        n_operators = len(operators)
        self._sums = self._no_sums()
        self._combined = {
            name: Predictions(
                self._projections.sources.index(self._sources[name]),
                tuple(row for row, other in enumerate(self._sources) if other in names),
            )
            for name, names in (combined or {}).items()
        }
        self._ceilings = self._no_ceilings()
        self._sample = TokenSample(
            sae.d_sae, SAMPLED_TOKENS, "random", n_values=1 + n_operators, with_keys=False, seed=None
        )

    def _no_sums(self) -> FeatureSums[torch.Tensor]:
        n_sources = len(self._projections.sources)
        return FeatureSums.zeros(DOCUMENT_GROUPS, len(self._sources), n_sources, self._sae.d_sae, self._shift.device)

    def _no_ceilings(self) -> ActiveCeilings:
        return ActiveCeilings(self._combined, self._sae.d_sae, self._shift.device)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "FeatureTransport":
        """Take a block into account; ``active`` is the encoding of its target residuals if the caller has it."""
        active = self._sae.active(block.residuals[self._target]) if active is None else active
        self.n_tokens += active.n
        if len(active.token) == 0:
            return self
        # On CPU each core takes some of the tokens; what they find is added in order, so that results never differ.
        n_parts = min(torch.get_num_threads(), 1 + len(active.token) // _PART_PAIRS)
        parts = active.split(n_parts if active.token.device.type == "cpu" else 1)
        for part in run_tasks([partial(self._part, block, rows, own) for rows, own in parts]):
            self._documents.merge(part.documents)
            self._sample.add(part.candidates)
            with one_openmp_thread():
                self._sums.add(part.sums, part.groups)
                self._ceilings.add(part.found, part.active, part.document)
        return self

    def _part(self, block: ResidualBlock, rows: slice, active: ActiveFeatures) -> "_Part":
        """What some rows of a block add; changes nothing."""
        with one_openmp_thread():
            layers = self._target, *self._projections.sources
            found = self._projections.of_rows({layer: block.residuals[layer][rows] for layer in layers}, active)
            groups, group = np.unique(block.document[rows] % DOCUMENT_GROUPS, return_inverse=True)
            sums = sums_of_tokens(found, active, torch.from_numpy(group), len(groups), self._shift)
            token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
            document, sequence, position = (
                keys[rows][token] for keys in (block.document, block.sequence_id, block.position)
            )
            documents = DocumentsOfFeatures(self._sae.d_sae)
            documents.update(document, feature)
            candidates = self._sample.sift(feature, found.stacked.cpu().numpy(), sequence, position)
        there = torch.from_numpy(groups).to(active.feature.device)
        return _Part(there, sums, documents, candidates, found, active, block.document[rows])

    def __add__(self, other: "FeatureTransport") -> "FeatureTransport":
        """Scores over both streams.

        Raises:
            MismatchError: they are of different SAEs, layers or operators.
        """
        if (self._sae.weights_hash, self._target) != (other._sae.weights_hash, other._target) or list(
            self._sources
        ) != list(other._sources):
            raise MismatchError("feature scores of different SAEs or operators cannot be added")
        total = copy(self)
        total.n_tokens, total._documents, total._sums = 0, DocumentsOfFeatures(self._sae.d_sae), self._no_sums()
        total._ceilings = self._no_ceilings()
        total._sample = self._sample + other._sample
        for part in (self, other):
            total.n_tokens += part.n_tokens
            total._documents.merge(part._documents)
            total._sums.add(part._sums, torch.arange(DOCUMENT_GROUPS, device=self._shift.device))
            total._ceilings.merge(part._ceilings)
        return total

    def result(
        self,
        *,
        min_active: int = 30,
        transported_above: float = 0.7,
        computed_below: float = 0.3,
    ) -> dict[str, FeatureScores]:
        """Name of each operator -> its scores.

        A feature with fewer than ``min_active`` active tokens has no score, one active in fewer than
        ``ato.numerics.intervals.MIN_DOCUMENTS`` documents no interval. Such features are ``undetermined``.
        Scores over all tokens come from moments, see ``ato.evaluation.feature_moments``.

        Raises:
            SettingsError: verdict thresholds out of order.
        """
        sums, deviations = self._sums.totals(), self._sample.deviations()
        shift = self._shift.cpu().numpy()
        n_documents = self._documents.counts()
        n_active = sums.by_group.n.astype(np.int64)
        judged = n_active >= max(min_active, 2)
        ceilings = self._ceilings.result()
        by_operator = self._jackknives()
        unknown = EstimateArray(*np.full((3, self._sae.d_sae), np.nan))
        results = {}
        for row, (name, source) in enumerate(self._sources.items()):
            scores = point_scores(sums, row, self._projections.sources.index(source), shift, deviations)
            known = {score: np.where(judged & np.isfinite(x), x, np.nan) for score, x in scores.items()}
            del known["r2"]
            of_r2 = judged_only(by_operator[row], scores["r2"], judged)
            estimate = of_r2.interval()
            limits = {"transported_above": transported_above, "computed_below": computed_below}
            results[name] = FeatureScores(
                feature_id=np.arange(self._sae.d_sae, dtype=np.int32),
                n_active=n_active,
                n_documents=n_documents,
                activation_rate=n_active / max(self.n_tokens, 1),
                r2=estimate,
                ceiling=_where(judged, ceilings.get(name, unknown)),
                **known,
                **q_values(of_r2, **limits),
                verdict=verdicts(estimate, **limits),
            )
        return results

    def averages(
        self,
        chosen: Mapping[str, np.ndarray],
        *,
        min_active: int = 30,
        transported_above: float = 0.7,
        computed_below: float = 0.3,
    ) -> dict[str, FeatureAverages]:
        """Averages over the scored features among each choice [d_sae] bool, operators in the order of the constructor."""
        scored = self._sums.by_group.n.sum(0).cpu().numpy() >= max(min_active, 2)
        seen = self._seen()
        limits = {"transported_above": transported_above, "computed_below": computed_below}
        of = {
            name: FeatureAveraging(mask & scored, len(seen), len(self._sources), **limits)
            for name, mask in chosen.items()
        }
        parts = (self._part_of(start) for start in range(0, self._sae.d_sae, _CHUNK_FEATURES))
        return feature_averages(((part, self._r2_sums(part, seen)) for part in parts), of)

    @property
    def sae_hash(self) -> str:
        """Hash of the weights of the SAE whose features are scored."""
        return self._sae.weights_hash

    def row(self, name: str) -> int:
        """Place of an operator on the axis of ``sse`` of ``group_sums``.

        Raises:
            MismatchError: there is no operator of that name.
        """
        if name not in self._sources:
            raise MismatchError(f"no operator {name!r} was scored (scored: {', '.join(self._sources)})")
        return list(self._sources).index(name)

    def group_sums(self) -> Iterator[R2Sums]:
        """Sums by document number modulo 256, all of them [256, ...], for some features at a time in their order."""
        every = torch.arange(DOCUMENT_GROUPS, device=self._shift.device)
        for start in range(0, self._sae.d_sae, _CHUNK_FEATURES):
            yield self._r2_sums(self._part_of(start), every)

    def _seen(self) -> torch.Tensor:
        """Groups with an active token, ascending."""
        return (self._sums.by_group.n.sum(1) > 0).nonzero()[:, 0]

    @staticmethod
    def _part_of(start: int) -> slice:
        return slice(start, start + _CHUNK_FEATURES)

    def _r2_sums(self, part: slice, seen: torch.Tensor) -> R2Sums:
        """Of some features, [groups, features]."""
        groups = self._sums.by_group
        n, a, aa, sse = (x[..., seen, part].cpu().numpy() for x in (groups.n, groups.a, groups.aa, groups.sse))
        return R2Sums(n, a, aa, sse.swapaxes(0, 1))

    def _jackknives(self) -> list[Jackknife]:
        """Of r2 [d_sae] under each operator, without one group of documents at a time."""
        seen, shape = self._seen(), (len(self._sources), self._sae.d_sae)
        value, centre, error, freedom = (np.full(shape, np.nan) for _ in range(4))

        def judge(part: slice) -> None:
            sums = self._r2_sums(part, seen)
            found = jackknife(sums, r2, sums.n[:, None], UNEXPLAINED)
            value[:, part], centre[:, part] = found.value, found.centre
            error[:, part], freedom[:, part] = found.error, found.freedom

        starts = range(0, self._sae.d_sae, _CHUNK_FEATURES)
        run_tasks([partial(judge, self._part_of(start)) for start in starts])
        return [Jackknife(*arrays, UNEXPLAINED) for arrays in zip(value, centre, error, freedom, strict=True)]


@dataclass(frozen=True)
class _Part:
    """What some rows of a block add to a ``FeatureTransport``."""

    groups: torch.Tensor
    """Groups of documents that the rows belong to, ascending."""
    sums: FeatureSums[torch.Tensor]
    documents: DocumentsOfFeatures
    candidates: Candidates
    found: Projections
    active: ActiveFeatures
    document: np.ndarray
    """[rows]"""


def _where(mask: np.ndarray, estimates: EstimateArray) -> EstimateArray:
    return EstimateArray(*(np.where(mask, x, np.nan) for x in (estimates.value, estimates.low, estimates.high)))
