"""Coverage and width of 95 % intervals by document: ours against resampled documents.

Documents are of unequal size (lognormal), tokens of one document are correlated (0.6; canonical modes 0.3), and documents
differ in spread, so that contributions have heavy tails. The table of ``docs/statistics.md`` is what this prints.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm

from ato.numerics.intervals import MIN_DOCUMENTS, degrees_of_freedom, document_interval
from ato.numerics.scales import PLAIN, UNEXPLAINED, Scale
from benchmarks.measurement import Measurement, plain, rate
from benchmarks.program import run

DOCUMENTS = (3, 5, 10, 20, 40, 160)
TAU, TAU_MODES = 0.6, 0.3
"""Correlation of two tokens of one document."""
RHO = 0.95 * 0.8 ** np.arange(24)
"""Canonical correlations of the simulated pair of layers; ceilings are means of their squares."""
RHO_TRAIN = np.minimum(1.02 * RHO, 1)
RESAMPLES = 400

Sums = tuple[np.ndarray, ...]
"""[documents, replicates, ...], rows of each document first."""
Limits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A score whose true value is known."""

    name: str
    draw: Callable[[np.random.Generator, int, int, float], Sums]
    """From (generator, documents, replicates, spread of document sizes)."""
    score: Callable[[Sums], np.ndarray]
    truth: float
    scale: Scale
    """Of our intervals."""
    corrected: bool = False
    """Whether ours are corrected for bias."""
    spread: float = 1.0
    """Of the logarithm of document sizes."""


def sizes(rng: np.random.Generator, documents: int, replicates: int, spread: float) -> np.ndarray:
    """Tokens [documents, replicates] of each document: lognormal about 12."""
    n = np.rint(12 * np.exp(spread * rng.standard_normal((documents, replicates))))
    return np.clip(n, 1, 120).astype(np.int64)


def correlated(rng: np.random.Generator, n: np.ndarray, tau: float, *width: int) -> np.ndarray:
    """Normal tokens [documents, longest, replicates, ...], 0 beyond each document's end."""
    documents, replicates = n.shape
    of_document = np.sqrt(tau) * rng.standard_normal((documents, 1, replicates, *width))
    values = of_document + np.sqrt(1 - tau) * rng.standard_normal((documents, int(n.max()), replicates, *width))
    inside = np.arange(n.max())[:, None] < n[:, None]
    return values * inside.reshape(*inside.shape, *[1] * len(width))


def spread_of(rng: np.random.Generator, n: np.ndarray, size: float, *width: int) -> np.ndarray:
    """A factor for each document, whose mean square is 1."""
    drawn = rng.standard_normal((n.shape[0], 1, n.shape[1], *[1] * len(width)))
    return np.exp(size * drawn - size**2)


def draw_r2(error: float, rng: np.random.Generator, documents: int, replicates: int, spread: float) -> Sums:
    """n, sum, squares of the target, squared errors."""
    n = sizes(rng, documents, replicates, spread)
    y = correlated(rng, n, TAU) * spread_of(rng, n, 0.3)
    e = np.sqrt(error) * correlated(rng, n, TAU) * spread_of(rng, n, 0.5)
    return n.astype(float), y.sum(1), (y**2).sum(1), (e**2).sum(1)


def r2(sums: Sums) -> np.ndarray:
    """1 - SSE / SST about the mean of the tokens at hand."""
    n, y, yy, sse = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = yy - y**2 / n
        return 1 - sse / np.where(squares > 1e-12 * yy, squares, np.nan)


def draw_skill(error: float, rng: np.random.Generator, documents: int, replicates: int, spread: float) -> Sums:
    """n, squared errors, squared errors of the identity."""
    n = sizes(rng, documents, replicates, spread)
    factor = spread_of(rng, n, 0.5)
    e = np.sqrt(error) * correlated(rng, n, TAU) * factor
    more = np.sqrt(1 - error) * correlated(rng, n, TAU) * factor
    return n.astype(float), (e**2).sum(1), ((e + more) ** 2).sum(1)


def draw_mean(rng: np.random.Generator, documents: int, replicates: int, spread: float) -> Sums:
    """n and sum of skewed values with mean 0."""
    n = sizes(rng, documents, replicates, spread)
    z = correlated(rng, n, TAU)
    values = (z + 0.5 * (z**2 - (z != 0))) * spread_of(rng, n, 0.4)
    return n.astype(float), values.sum(1)


def draw_modes(rng: np.random.Generator, documents: int, replicates: int, spread: float) -> Sums:
    """n, u, u^2, uv, v, v^2 of canonical variates."""
    n = sizes(rng, documents, replicates, spread)
    u, w = (correlated(rng, n, TAU_MODES, len(RHO)) for _ in range(2))
    factor = spread_of(rng, n, 0.3, len(RHO))
    u, v = u * factor, (RHO * u + np.sqrt(1 - RHO**2) * w) * factor
    return n.astype(float)[..., None], u.sum(1), (u * u).sum(1), (u * v).sum(1), v.sum(1), (v * v).sum(1)


def ceiling(sums: Sums) -> np.ndarray:
    """Mean of squared correlations, as ``ceiling_held_out``."""
    n, u, uu, uv, v, vv = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (uv - u * v / n) ** 2 / ((uu - u**2 / n) * (vv - v**2 / n))
    mean: np.ndarray = np.nan_to_num(gains).mean(-1)
    return mean


def efficiency(sums: Sums) -> np.ndarray:
    """R2 of the operator that predicts v by its correlation on train times u, over the ceiling."""
    n, _, uu, uv, v, vv = sums
    sse = (vv - 2 * RHO_TRAIN * uv + RHO_TRAIN**2 * uu).sum(-1)
    return (1 - sse / (vv - v**2 / n).sum(-1)) / ceiling(sums)


def mean_of(sums: Sums) -> np.ndarray:
    """Mean over tokens."""
    return sums[1] / sums[0]


def skill(sums: Sums) -> np.ndarray:
    """1 - squared errors / those of the identity."""
    return 1 - sums[1] / sums[2]


CEILING = float((RHO**2).mean())
CASES = (
    Case("r2 = 0.9 of a feature", partial(draw_r2, 0.1), r2, 0.9, UNEXPLAINED),
    Case("r2 = 0.3 of a feature", partial(draw_r2, 0.7), r2, 0.3, UNEXPLAINED),
    Case("r2 = 0.3, sizes very unequal", partial(draw_r2, 0.7), r2, 0.3, UNEXPLAINED, spread=1.5),
    Case("skill = 0.5", partial(draw_skill, 0.5), skill, 0.5, UNEXPLAINED),
    Case("mean, skewed", draw_mean, mean_of, 0.0, PLAIN),
    Case("ceiling, 24 modes", draw_modes, ceiling, CEILING, PLAIN, True),
    Case(
        "efficiency, 24 modes",
        draw_modes,
        efficiency,
        float((2 * RHO_TRAIN * RHO - RHO_TRAIN**2).mean()) / CEILING,
        PLAIN,
        True,
    ),
)


def ours(case: Case, sums: Sums) -> Limits:
    """What the product gives; no limits below its minimum of documents."""
    found = document_interval(sums, case.score, rows_of(sums), case.scale, corrected=case.corrected)
    return found.low, found.high


def rows_of(sums: Sums) -> np.ndarray:
    """Tokens [documents, replicates]."""
    return sums[0].reshape(sums[0].shape[:2])


def jackknife_t(case: Case, sums: Sums, scale: Scale, effective: bool) -> Limits:
    """Student's t on the jackknife, with documents less one as degrees of freedom, or effective ones."""
    value, without = _value_and_left_out(case, sums)
    value, without = scale.forward(value), scale.forward(without)
    documents = len(without)
    freedom = degrees_of_freedom(rows_of(sums)) if effective else np.full(value.shape, documents - 1.0)
    reach = stdtrit(freedom, 0.975) * np.sqrt((documents - 1) / documents * np.square(without - without.mean(0)).sum(0))
    ends = scale.inverse(value - reach), scale.inverse(value + reach)
    return np.minimum(*ends), np.maximum(*ends)


def resampled(case: Case, sums: Sums, rng: np.random.Generator, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [resamples, documents] and scores [resamples, replicates] of documents drawn with replacement."""
    documents = len(sums[0])
    weights = rng.multinomial(documents, np.full(documents, 1 / documents), size=n_resamples).astype(np.float64)
    return weights, case.score(tuple(np.tensordot(weights, part, 1) for part in sums))


def percentile(case: Case, sums: Sums, rng: np.random.Generator) -> Limits:
    """2.5th and 97.5th percentile of resamples, widened to hold the estimate: what the product gave before."""
    _, scores = resampled(case, sums, rng, RESAMPLES)
    value, _ = _value_and_left_out(case, sums)
    low, high = np.nanquantile(np.where(np.isfinite(scores), scores, np.nan), [0.025, 0.975], axis=0)
    return np.fmin(low, value), np.fmax(high, value)


def bca(case: Case, sums: Sums, rng: np.random.Generator) -> Limits:
    """Bias-corrected and accelerated percentiles (Efron, 1987)."""
    _, scores = resampled(case, sums, rng, RESAMPLES)
    value, without = _value_and_left_out(case, sums)
    apart = without.mean(0) - without
    skew = (apart**3).sum(0) / (6 * np.maximum((apart**2).sum(0), 1e-300) ** 1.5)
    below = ((scores < value).mean(0) + (scores <= value).mean(0)) / 2
    z0, ordered = norm.ppf(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES)), np.sort(scores, 0)
    ends = []
    for z in norm.ppf([0.025, 0.975]):
        share = norm.cdf(z0 + (z0 + z) / (1 - skew * (z0 + z)))
        at = np.clip(share * (RESAMPLES - 1), 0, RESAMPLES - 1).astype(int)
        ends.append(np.take_along_axis(ordered, at[None], 0)[0])
    return ends[0], ends[1]


def studentised(case: Case, sums: Sums, rng: np.random.Generator) -> Limits:
    """Percentiles of (resample - estimate) / jackknife error of the resample, on the case's scale."""
    forward = case.scale.forward
    value, without = (forward(part) for part in _value_and_left_out(case, sums))
    weights, scores = resampled(case, sums, rng, RESAMPLES // 2)
    documents, t = len(without), []
    for weight, score in zip(weights, scores, strict=True):
        drawn = weight > 0
        whole = [np.tensordot(weight, part, 1) for part in sums]
        left = forward(case.score(tuple(of - part[drawn] for of, part in zip(whole, sums, strict=True))))
        often = weight[drawn, None]
        about = left - (often * left).sum(0) / documents
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt((documents - 1) / documents * (often * about**2).sum(0))
            t.append((forward(score) - value) / error)
    finite = np.where(np.isfinite(t), t, np.nan)
    low, high = np.nanquantile(finite, [0.025, 0.975], axis=0)
    error = np.sqrt((documents - 1) / documents * np.square(without - without.mean(0)).sum(0))
    ends = case.scale.inverse(value - high * error), case.scale.inverse(value - low * error)
    return np.minimum(*ends), np.maximum(*ends)


def _value_and_left_out(case: Case, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    whole = tuple(part.sum(0, keepdims=True) for part in sums)
    return case.score(whole)[0], case.score(tuple(of - part for of, part in zip(whole, sums, strict=True)))


def coverage(limits: Limits, truth: float) -> tuple[float, float]:
    """Share of the intervals that cover the true value, in percent, and their median width; NaN where none is given."""
    low, high = limits
    given = np.isfinite(low) & np.isfinite(high)
    if not given.any():
        return float("nan"), float("nan")
    return 100 * float(((low <= truth) & (truth <= high))[given].mean()), float(np.median((high - low)[given]))


def draws(case: Case, documents: int, replicates: int, seed: int = 0) -> Sums:
    """Sums of many replicates, made a few at a time so that tokens take little memory."""
    rng, step = np.random.default_rng([seed, documents]), max(1, 4_000 // documents // (8 if case.corrected else 1))
    parts = [case.draw(rng, documents, min(step, replicates - at), case.spread) for at in range(0, replicates, step)]
    return tuple(np.concatenate(part, axis=1) for part in zip(*parts, strict=True))


def measure(quick: bool) -> Iterator[Measurement]:
    """Coverage and width of each method, case and number of documents."""
    replicates = 100 if quick else 1000
    for case in CASES:
        for documents in DOCUMENTS[:3] if quick else DOCUMENTS:
            sums = draws(case, documents, replicates if documents < 160 else replicates // 4)
            rng, what = np.random.default_rng(1), f"{case.name}, {documents} documents"
            others = {
                "percentile bootstrap": percentile(case, sums, rng),
                "BCa bootstrap": bca(case, sums, rng),
                "t on the jackknife, plain, documents - 1": jackknife_t(case, sums, PLAIN, False),
                "t on the jackknife, plain, effective documents - 1": jackknife_t(case, sums, PLAIN, True),
                "t on the jackknife, own scale, effective documents - 1": jackknife_t(case, sums, case.scale, True),
            }
            if documents <= 20 and not case.corrected:
                few = tuple(part[:, :200] for part in sums)
                others["studentised bootstrap, own scale"] = studentised(case, few, rng)
            for method, limits in others.items():
                held, width = coverage(limits, case.truth)
                yield plain(f"{what}: {method}, width {width:.3g}", "%", held)
            if documents >= MIN_DOCUMENTS:
                held, width = coverage(ours(case, sums), case.truth)
                yield rate(f"{what}: intervals here, width {width:.3g}", "%", held, "95 %", 95, at_least=0.94)


if __name__ == "__main__":
    sys.exit(run("coverage", measure, __doc__))
