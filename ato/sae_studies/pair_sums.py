"""Sums by groups of documents over chosen pairs of features of two SAEs, and the scores that are made from them."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ato.numerics.ratios import ratio
from ato.saes.autoencoder import ActiveFeatures

_CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class PairSums:
    """Sums over tokens, float64; a is the target's activation, s the source's, p the target's projection.

    Whole sums have the target features, the source features, or [matches, target features] behind the first axis; those
    of ``of_pairs`` have the pairs only.
    """

    partner: np.ndarray | None
    """[matches, target features] source feature of each; None in those of ``of_pairs``."""
    n: np.ndarray
    """[groups, 1] tokens."""
    n_target: np.ndarray
    a: np.ndarray
    aa: np.ndarray
    p: np.ndarray
    pp: np.ndarray
    n_source: np.ndarray
    s: np.ndarray
    ss: np.ndarray
    both: np.ndarray
    """Tokens on which both are active."""
    products: np.ndarray
    """a s"""
    projected: np.ndarray
    """p s"""

    @classmethod
    def zeros(cls, n_groups: int, partner: np.ndarray, n_source: int) -> "PairSums":
        """Of nothing."""
        n_matches, n_target = partner.shape
        shapes: dict[str, tuple[int, ...]] = {"n": (1,)}
        shapes |= dict.fromkeys(("n_target", "a", "aa", "p", "pp"), (n_target,))
        shapes |= dict.fromkeys(("n_source", "s", "ss"), (n_source,))
        shapes |= dict.fromkeys(("both", "products", "projected"), (n_matches, n_target))
        return cls(partner, **{name: np.zeros((n_groups, *shape)) for name, shape in shapes.items()})

    def merge(self, other: "PairSums") -> None:
        """Add all that another one holds."""
        for field in fields(self)[1:]:
            getattr(self, field.name).__iadd__(getattr(other, field.name))

    def add_projections(self, groups: np.ndarray, n: np.ndarray, p: np.ndarray, pp: np.ndarray) -> None:
        """Add tokens [g] and sums [g, target features] to the rows of distinct groups [g]."""
        self.n[groups, 0] += n
        self.p[groups] += p
        self.pp[groups] += pp

    def add_activations(
        self, group: np.ndarray, target: ActiveFeatures, source: ActiveFeatures, projection: np.ndarray
    ) -> None:
        """Add the active features of some tokens, of groups [n], with the target's projections [n, target features]."""
        assert self.partner is not None
        token, feature, value = _arrays(target)
        other_token, other, other_value = _arrays(source)
        n_source = self.n_source.shape[1]
        for name, weight in (("n_target", None), ("a", value), ("aa", value**2)):
            _add(getattr(self, name), group[token], feature, weight)
        for name, weight in (("n_source", None), ("s", other_value), ("ss", other_value**2)):
            _add(getattr(self, name), group[other_token], other, weight)
        order = np.argsort(other_token * n_source + other, kind="stable")
        pairs = (other_token * n_source + other)[order]
        for row, partner in enumerate(self.partner):
            wanted = token * n_source + partner[feature]
            place = np.searchsorted(pairs, wanted).clip(max=max(len(pairs) - 1, 0))
            hit = pairs[place] == wanted if len(pairs) else np.zeros(len(wanted), dtype=bool)
            own, at = feature[hit], group[token[hit]]
            _add(self.both[:, row], at, own, None)
            _add(self.products[:, row], at, own, value[hit] * other_value[order][place[hit]])
            # Every target that has this source as its partner, on the tokens where the source is active.
            members = np.argsort(partner, kind="stable")
            starts = np.searchsorted(partner[members], np.arange(n_source + 1))
            count = np.diff(starts)[other]
            entry = np.repeat(np.arange(len(other)), count)
            nth = np.arange(len(entry)) - np.repeat(np.cumsum(count) - count, count)
            member = members[starts[other[entry]] + nth]
            weight = other_value[entry] * projection[other_token[entry], member]
            _add(self.projected[:, row], group[other_token[entry]], member, weight)

    def of_pairs(self, row: int, chosen: Any) -> "PairSums":
        """The sums of one match at some of the target features, each [groups, pairs]."""
        assert self.partner is not None
        partner = self.partner[row][chosen]
        own = {name: getattr(self, name)[:, chosen] for name in ("n_target", "a", "aa", "p", "pp")}
        own |= {name: getattr(self, name)[:, partner] for name in ("n_source", "s", "ss")}
        own |= {name: getattr(self, name)[:, row][:, chosen] for name in ("both", "products", "projected")}
        return replace(self, partner=None, **own)


def agreement(sums: PairSums) -> np.ndarray:
    """Jaccard index of active tokens; NaN where neither is ever active."""
    return ratio(sums.both, sums.n_target + sums.n_source - sums.both)


def correlation(sums: PairSums) -> np.ndarray:
    """Pearson's of both activations; NaN where one is constant."""
    return _correlation(sums.n, (sums.a, sums.aa), (sums.s, sums.ss), sums.products)


def r2(sums: PairSums) -> np.ndarray:
    """Of the least-squares line from the source's activation to the target's projection: their correlation, squared."""
    return np.square(_correlation(sums.n, (sums.p, sums.pp), (sums.s, sums.ss), sums.projected))


def rank_correlation(values: np.ndarray, against: np.ndarray) -> np.ndarray:
    """Spearman's [b] of values [b, m] with others, [m] or [b, m]; NaN where one of them is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(values, axis=1), rankdata(np.broadcast_to(against, values.shape), axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return ratio((a * b).sum(1), np.sqrt((a * a).sum(1) * (b * b).sum(1)))


def _correlation(
    n: np.ndarray, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], ab: np.ndarray
) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = [squares - np.square(values) / n for values, squares in (a, b)]
        covariance = ab - a[0] * b[0] / n
    constant = [~(variance > _CONSTANT * squares) for variance, (_, squares) in zip(variances, (a, b))]
    below = np.where(constant[0] | constant[1], 0.0, variances[0] * variances[1])
    return ratio(covariance, np.sqrt(below)).clip(-1, 1)


def _arrays(active: ActiveFeatures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return active.token.cpu().numpy(), active.feature.cpu().numpy(), active.value.double().cpu().numpy()


def _add(sums: np.ndarray, group: np.ndarray, feature: np.ndarray, weight: np.ndarray | None) -> None:
    """sums [groups, features] += weight (or 1) at (group, feature)."""
    shape = sums.shape
    found = np.bincount(group * shape[1] + feature, weight, minlength=shape[0] * shape[1])
    sums += found.reshape(shape)
