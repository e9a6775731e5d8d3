"""How well operators predict each SAE feature of the target layer on the tokens where the SAE activates it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ato.errors import MismatchError
from ato.evaluation.active_projections import ActiveProjections, Projections
from ato.evaluation.verdicts import verdicts
from ato.features.document_sets import DocumentsOfFeatures
from ato.features.token_priorities import Candidates, TokenSample
from ato.numerics.bootstrap import document_bootstrap
from ato.numerics.parallel import one_openmp_thread, run_tasks
from ato.operators.operator import TransportOperator
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

DOCUMENT_GROUPS = 256
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
SAMPLED_TOKENS = 256
"""Active tokens a feature of which the mean absolute deviations are taken."""
SMALLEST = 1e-6
"""Magnitudes below this count as this in relative errors and logarithms."""
_CHUNK_FEATURES = 256
_PART_PAIRS = 8192
"""Active pairs of a block that are worth a thread of their own."""


class FeatureTransport:
    """Accumulates scores of several operators on the features of one SAE at their common target layer.

    With u the unit decoder row of a feature, a = y.u and a_hat = y_hat.u, over the active tokens of the feature:
    r2 = 1 - sum (a - a_hat)^2 / sum (a - mean a)^2 with its interval from resampling documents, skill against the
    identity (y_hat = x) and the further metrics of the table ``feature_transport``.

    Everything is kept as float64 sums: memory is (3 + operators) x documents (256 at most: beyond that, groups of
    documents with equal numbers modulo 256 are resampled together) x features, whatever the number of tokens.
    Projections are taken of the residuals minus ``b_dec``, which is near their mean: what is left is small, so
    float32 products lose nothing and sums of squares do not cancel.

    ``mad_ratio`` needs the mean before the deviations, so it is taken over a random sample of 256 active tokens of
    each feature, or all where there are no more (see ``TokenSample``).

    Args:
        sae: the SAE at the target layer.
        target_layer: layer of y.
        operators: name -> (source layer, operator).
        dtype: precision of the projections; float64 for exact comparisons.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        target_layer: int,
        operators: Mapping[str, tuple[int, TransportOperator]],
        *,
        dtype: torch.dtype = torch.float32,
    ):
        self._sae, self._target, self._operators, self._dtype = sae, target_layer, dict(operators), dtype
        self._projections = ActiveProjections(sae, target_layer, self._operators, dtype)
        self._shift = sae.b_dec.double() @ sae.decoder_directions.T.double()
        self.n_tokens = 0
        self._documents = DocumentsOfFeatures(sae.d_sae)
        width, n_operators = sae.d_sae, len(self._operators)
        self._sums = {name: self._zeros(*shape, width) for name, shape in self._shapes(DOCUMENT_GROUPS).items()}
        self._sample = TokenSample(width, 1 + n_operators, SAMPLED_TOKENS)

    def _shapes(self, n_groups: int) -> dict[str, tuple[int, ...]]:
        """Names of the sums and their shapes, less the axis of features; the first four are of groups of documents."""
        operators, sources = len(self._operators), len(self._projections.sources)
        of_groups = dict.fromkeys(("n", "a", "aa"), (n_groups,)) | {"sse": (operators, n_groups)}
        return of_groups | dict.fromkeys(_TOTALS, (operators,)) | {"identity_sse": (sources,), "abs_a": ()}

    def _zeros(self, *shape: int) -> torch.Tensor:
        """Sums on the device of the SAE; on CPU, pages of them that stay zero take no memory."""
        return torch.from_numpy(np.zeros(shape)).to(self._sae.W_dec.device)

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
                for name, sums in part.sums.items():
                    whole = self._sums[name]
                    whole.index_add_(-2, part.groups, sums) if name in _OF_GROUPS else whole.add_(sums)
        return self

    def _part(self, block: ResidualBlock, rows: slice, active: ActiveFeatures) -> "_Part":
        """What some rows of a block add; changes nothing."""
        with one_openmp_thread():
            layers = self._target, *self._projections.sources
            found = self._projections.of_rows({layer: block.residuals[layer][rows] for layer in layers}, active)
            groups, group = np.unique(block.document[rows] % DOCUMENT_GROUPS, return_inverse=True)
            sums = self._part_sums(found, active, len(groups), torch.from_numpy(group))
            token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
            document, sequence, position = (
                keys[rows][token] for keys in (block.document, block.sequence_id, block.position)
            )
            documents = DocumentsOfFeatures(self._sae.d_sae)
            documents.update(document, feature)
            candidates = self._sample.sift(feature, sequence, position, found.stacked.cpu().numpy())
        return _Part(torch.from_numpy(groups).to(active.feature.device), sums, documents, candidates)

    def _part_sums(
        self, found: Projections, active: ActiveFeatures, n_groups: int, group: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Sums of ``_shapes`` over active pairs; the groups [tokens] are numbered from 0."""
        feature, a = active.feature, found.true
        code = group.to(feature.device)[active.token] * self._sae.d_sae + feature
        shift = self._shift[feature].to(a)
        abs_a = (a + shift).abs_()
        floor_a = abs_a.clamp_min(SMALLEST)
        sums = {name: self._zeros(*shape, self._sae.d_sae) for name, shape in self._shapes(n_groups).items()}
        for name, values in (("n", torch.ones_like(a)), ("a", a), ("aa", a * a)):
            _add(sums[name], code, values)
        _add(sums["abs_a"], feature, abs_a)
        for row, kept in enumerate(found.kept):
            _add(sums["identity_sse"][row], feature, (a - kept).square_())
        for row, p in enumerate(found.predicted):
            error, abs_p = p - a, (p + shift).abs_()
            _add(sums["sse"][row], code, error * error)
            contributions = {
                "p": p,
                "pp": p * p,
                "ap": p * a,
                "abs_p": abs_p,
                "relative": error.abs_().div_(floor_a),
                "log": abs_p.clamp_min(SMALLEST).div_(floor_a).log_().square_(),
            }
            for name, values in contributions.items():
                _add(sums[name][row], feature, values)
        return sums

    def __add__(self, other: "FeatureTransport") -> "FeatureTransport":
        """Scores over both streams.

        Raises:
            MismatchError: they are of different SAEs, layers or operators.
        """
        if (self._sae.weights_hash, self._target) != (other._sae.weights_hash, other._target) or list(
            self._operators
        ) != list(other._operators):
            raise MismatchError("feature scores of different SAEs or operators cannot be added")
        total = FeatureTransport(self._sae, self._target, self._operators, dtype=self._dtype)
        for part in (self, other):
            total.n_tokens += part.n_tokens
            total._documents.merge(part._documents)
            total._sample.merge(part._sample)
            for name, sums in part._sums.items():
                total._sums[name] += sums
        return total

    def result(
        self,
        *,
        n_boot: int = 1000,
        seed: int = 0,
        min_active: int = 30,
        transported_above: float = 0.7,
        synthesised_below: float = 0.3,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Columns of ``feature_transport`` for each operator, each [d_sae].

        float64 columns are NaN where there is nothing to say (NULL in the table): for a feature with fewer than
        ``min_active`` active tokens every score; for one active in a single document the interval. Such features are
        ``undetermined``. ``r2_all_tokens`` and ``ceiling`` come from moments, see ``ato.evaluation.feature_moments``.

        Raises:
            SettingsError: verdict thresholds out of order.
            InputError: fewer than 40 resamples.
        """
        sums = self._all_sums()
        n_documents = self._documents.counts()
        n_active = sums["n"].astype(np.int64)
        judged = n_active >= max(min_active, 2)
        low, high = self._intervals(n_boot, seed)
        has_interval = judged & (n_documents >= 2)
        columns: dict[str, dict[str, np.ndarray]] = {}
        deviations = self._sample.deviations()
        for row, (name, (source, _)) in enumerate(self._operators.items()):
            scores = self._scores(sums, row, self._projections.sources.index(source), deviations)
            scores["r2_low"], scores["r2_high"] = (np.where(has_interval, x[row], np.nan) for x in (low, high))
            for score in scores.values():
                score[~(judged & np.isfinite(score))] = np.nan
            limits = {"transported_above": transported_above, "synthesised_below": synthesised_below}
            columns[name] = {
                "feature_id": np.arange(self._sae.d_sae, dtype=np.int32),
                "n_active": n_active,
                "n_documents": n_documents,
                "activation_rate": n_active / max(self.n_tokens, 1),
                **scores,
                "verdict": verdicts(scores["r2_low"], scores["r2_high"], **limits),
            }
        return columns

    def _all_sums(self) -> dict[str, np.ndarray]:
        """Sums over all documents: n, a, aa and abs_a [d_sae], the others [operators or sources, d_sae]."""
        sums = {name: table.sum(-2) if name in _OF_GROUPS else table for name, table in self._sums.items()}
        return {name: values.cpu().numpy() for name, values in sums.items()}

    def _intervals(self, n_boot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Limits of r2, [operators, d_sae] each; chunks of features see the same resamples."""
        low = np.full((len(self._operators), self._sae.d_sae), np.nan)
        high = low.copy()
        seen = (self._sums["n"].sum(1) > 0).nonzero()[:, 0]

        def judge(part: slice) -> None:
            chunk = {name: self._sums[name][..., seen, part].cpu().numpy() for name in _OF_GROUPS}
            chunk["sse"] = chunk["sse"].swapaxes(0, 1)
            limits = document_bootstrap(chunk, _r2, n_boot, seed)
            if limits[0] is not None:
                low[:, part], high[:, part] = limits

        starts = range(0, self._sae.d_sae, _CHUNK_FEATURES)
        run_tasks([partial(judge, slice(start, start + _CHUNK_FEATURES)) for start in starts])
        return low, high

    def _scores(
        self, sums: Mapping[str, np.ndarray], row: int, source_row: int, deviations: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Point estimates of one operator, in units of the residual stream (b_dec added back where it matters)."""
        n, a, aa, sse = sums["n"], sums["a"], sums["aa"], sums["sse"][row]
        p, pp, ap = (sums[name][row] for name in ("p", "pp", "ap"))
        shift = self._shift.cpu().numpy()
        raw_aa = aa + 2 * shift * a + n * shift**2
        raw_pp = pp + 2 * shift * p + n * shift**2
        raw_ap = ap + shift * (a + p) + n * shift**2
        with np.errstate(divide="ignore", invalid="ignore"):
            covariance, var_a, var_p = ap - a * p / n, _scatter(n, a, aa), _scatter(n, p, pp)
            return {
                "r2": 1 - sse / var_a,
                "skill": 1 - sse / _positive(sums["identity_sse"][source_row]),
                "pearson": np.clip(covariance / np.sqrt(var_a * var_p), -1, 1),
                "mse": sse / n,
                "calibration": np.clip(raw_ap / np.sqrt(raw_aa * raw_pp), -1, 1),
                "rms_ratio": np.sqrt(np.maximum(raw_pp, 0) / raw_aa),
                "mean_abs_ratio": sums["abs_p"][row] / sums["abs_a"],
                "mean_ratio": (p + n * shift) / (a + n * shift),
                "mad_ratio": deviations[1 + row] / deviations[0],
                "mean_relative_error": sums["relative"][row] / n,
                "mean_squared_log_ratio": sums["log"][row] / n,
            }


_OF_GROUPS = ("n", "a", "aa", "sse")
"""What is summed over the active tokens of each feature and group of documents; sse for every operator."""
_TOTALS = ("p", "pp", "ap", "abs_p", "relative", "log")
"""What is summed over those of each feature for every operator; p is its prediction of a."""


@dataclass(frozen=True)
class _Part:
    """What some rows of a block add to a ``FeatureTransport``."""

    groups: torch.Tensor
    """Groups of documents that the rows belong to, ascending."""
    sums: dict[str, torch.Tensor]
    documents: DocumentsOfFeatures
    candidates: Candidates


def _add(sums: torch.Tensor, index: torch.Tensor, values: torch.Tensor) -> None:
    """Add values [m] to the flattened float64 sums at index [m]."""
    sums.view(-1).scatter_add_(0, index, values.double())


def _r2(sums: dict[str, np.ndarray]) -> np.ndarray:
    """r2 [resamples, operators, features] from sums [resamples, ...]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - sums["sse"] / _scatter(sums["n"], sums["a"], sums["aa"])[:, None]


def _scatter(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squares about the mean; NaN where it is nothing but rounding."""
    scatter = squares - total**2 / n
    return np.where(scatter > 1e-12 * squares, scatter, np.nan)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)
