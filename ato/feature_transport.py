"""How well operators predict each SAE feature of the target layer on the tokens where the SAE activates it."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from ato.active_projections import ActiveProjections
from ato.bootstrap import DocumentSums, document_bootstrap
from ato.errors import MismatchError
from ato.feature_stats import DocumentsOfFeatures
from ato.operators import TransportOperator
from ato.parallel import run_all
from ato.residuals import ResidualBlock
from ato.saes import ActiveFeatures, SparseAutoencoder
from ato.token_sample import TokenSample
from ato.verdicts import verdicts

DOCUMENT_GROUPS = 256
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
SAMPLED_TOKENS = 256
"""Active tokens a feature of which the mean absolute deviations are taken."""
SMALLEST = 1e-6
"""Magnitudes below this count as this in relative errors and logarithms."""
_CHUNK_FEATURES = 256


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
        self._sources = sorted({source for source, _ in self._operators.values()})
        self._projections = ActiveProjections(sae, self._operators, dtype)
        self._shift = (sae.b_dec.double() @ sae.decoder_directions.T.double()).cpu().numpy()
        self.n_tokens = 0
        self._documents = DocumentsOfFeatures(sae.d_sae)
        self._sums = DocumentSums()
        width, n_operators = sae.d_sae, len(self._operators)
        self._identity_sse = np.zeros((len(self._sources), width))
        self._abs_a = np.zeros(width)
        self._totals = {name: np.zeros((n_operators, width)) for name in _TOTALS}
        self._sample = TokenSample(width, 1 + n_operators, SAMPLED_TOKENS)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "FeatureTransport":
        """Take a block into account; ``active`` is the encoding of its target residuals if the caller has it."""
        y = block.residuals[self._target]
        active = self._sae.active(y) if active is None else active
        self.n_tokens += active.n
        if len(active.token) == 0:
            return self
        layout = _Layout.of(active, block.document, self._sae.d_sae)
        self._documents.update(layout.document, layout.feature)
        a = self._projections.of_residuals(y, active)
        shift = self._shift[layout.feature]
        self._abs_a += layout.per_feature(np.abs(a + shift))
        for row, source in enumerate(self._sources):
            kept = self._projections.of_residuals(block.residuals[source], active)
            self._identity_sse[row] += layout.per_feature((a - kept) ** 2)
        sse, projections = [], [a]
        for row, a_hat in enumerate(self._projections.of_predictions(block, active).values()):
            squared_error = (a_hat - a) ** 2
            sse.append(layout.per_group(squared_error))
            projections.append(a_hat)
            for name, values in _contributions(a, a_hat, squared_error, shift).items():
                self._totals[name][row] += layout.per_feature(values)
        token = active.token.cpu().numpy()
        self._sample.update(layout.feature, block.sequence_id[token], block.position[token], np.stack(projections))
        sums = {"n": layout.per_group(), "a": layout.per_group(a), "aa": layout.per_group(a**2)}
        self._sums.add(layout.groups, sums | {"sse": np.stack(sse, axis=1)})
        return self

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
        total._sums = self._sums + other._sums
        for part in (self, other):
            total.n_tokens += part.n_tokens
            total._documents.merge(part._documents)
            total._identity_sse += part._identity_sse
            total._abs_a += part._abs_a
            for name, values in part._totals.items():
                total._totals[name] += values
            total._sample.merge(part._sample)
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
        ``undetermined``. ``r2_all_tokens`` and ``ceiling`` come from moments, see ``ato.feature_moments``.

        Raises:
            SettingsError: verdict thresholds out of order.
            InputError: fewer than 40 resamples.
        """
        tables = self._sums.arrays()
        if not tables:
            empty = np.zeros((0, self._sae.d_sae))
            tables = {"n": empty, "a": empty, "aa": empty}
            tables["sse"] = np.zeros((0, len(self._operators), self._sae.d_sae))
        n_documents = self._documents.counts()
        n_active = tables["n"].sum(0).astype(np.int64)
        judged = n_active >= max(min_active, 2)
        low, high = self._intervals(tables, n_boot, seed)
        has_interval = judged & (n_documents >= 2)
        columns, deviations = {}, self._sample.deviations()
        for row, (name, (source, _)) in enumerate(self._operators.items()):
            scores = self._scores(tables, row, self._sources.index(source), deviations)
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

    def _intervals(self, tables: Mapping[str, np.ndarray], n_boot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Limits of r2, [operators, d_sae] each; chunks of features see the same resamples."""
        low = np.full((len(self._operators), self._sae.d_sae), np.nan)
        high = low.copy()

        def judge(part: slice) -> None:
            chunk = {name: table[..., part] for name, table in tables.items()}
            limits = document_bootstrap(chunk, _r2, n_boot, seed)
            if limits[0] is not None:
                low[:, part], high[:, part] = limits

        starts = range(0, self._sae.d_sae, _CHUNK_FEATURES)
        run_all([partial(judge, slice(start, start + _CHUNK_FEATURES)) for start in starts])
        return low, high

    def _scores(
        self, tables: Mapping[str, np.ndarray], row: int, source_row: int, deviations: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Point estimates of one operator, in units of the residual stream (b_dec added back where it matters)."""
        n, a, aa = (tables[name].sum(0) for name in ("n", "a", "aa"))
        sse = tables["sse"].sum(0)[row]
        p, pp, ap = (self._totals[name][row] for name in ("p", "pp", "ap"))
        shift = self._shift
        raw_aa = aa + 2 * shift * a + n * shift**2
        raw_pp = pp + 2 * shift * p + n * shift**2
        raw_ap = ap + shift * (a + p) + n * shift**2
        with np.errstate(divide="ignore", invalid="ignore"):
            covariance, var_a, var_p = ap - a * p / n, _scatter(n, a, aa), _scatter(n, p, pp)
            return {
                "r2": 1 - sse / var_a,
                "skill": 1 - sse / _positive(self._identity_sse[source_row]),
                "pearson": np.clip(covariance / np.sqrt(var_a * var_p), -1, 1),
                "mse": sse / n,
                "calibration": np.clip(raw_ap / np.sqrt(raw_aa * raw_pp), -1, 1),
                "rms_ratio": np.sqrt(np.maximum(raw_pp, 0) / raw_aa),
                "mean_abs_ratio": self._totals["abs_p"][row] / self._abs_a,
                "mean_ratio": (p + n * shift) / (a + n * shift),
                "mad_ratio": deviations[1 + row] / deviations[0],
                "mean_relative_error": self._totals["relative"][row] / n,
                "mean_squared_log_ratio": self._totals["log"][row] / n,
            }


_TOTALS = ("p", "pp", "ap", "abs_p", "relative", "log")


def _contributions(a: np.ndarray, p: np.ndarray, squared_error: np.ndarray, shift: np.ndarray) -> dict[str, np.ndarray]:
    """What each active token adds to the totals ``_TOTALS``; a and p (the prediction) are without their shift."""
    abs_a, abs_p = np.abs(a + shift), np.abs(p + shift)
    floor_a, floor_p = np.maximum(abs_a, SMALLEST), np.maximum(abs_p, SMALLEST)
    return {
        "p": p,
        "pp": p**2,
        "ap": a * p,
        "abs_p": abs_p,
        "relative": np.sqrt(squared_error) / floor_a,
        "log": np.log(floor_p / floor_a) ** 2,
    }


class _Layout:
    """Where the active pairs of a block belong: feature, document and group of documents of each."""

    def __init__(self, feature: np.ndarray, document: np.ndarray, d_sae: int):
        self.feature, self.document, self._d_sae = feature, document, d_sae
        self.groups, group_code = np.unique(document % DOCUMENT_GROUPS, return_inverse=True)
        self._code = group_code * d_sae + feature

    @classmethod
    def of(cls, active: ActiveFeatures, document: np.ndarray, d_sae: int) -> "_Layout":
        return cls(active.feature.cpu().numpy(), document[active.token.cpu().numpy()], d_sae)

    def per_feature(self, values: np.ndarray) -> np.ndarray:
        """Sums [d_sae]."""
        return np.bincount(self.feature, values, minlength=self._d_sae)

    def per_group(self, values: np.ndarray | None = None) -> np.ndarray:
        """Sums, or counts, [groups, d_sae]."""
        size = len(self.groups) * self._d_sae
        return np.bincount(self._code, values, minlength=size).reshape(len(self.groups), -1)


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
