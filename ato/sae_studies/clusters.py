"""Clusters of decoder directions by k-means or HDBSCAN, the same for any order of the features, with their stability."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ato.errors import InputError, SettingsError
from ato.numerics.ratios import ratio
from ato.sae_studies.canonical import CanonicalRows, canonical_rows, library_versions, one_thread, principal_coordinates
from ato.saes.autoencoder import SparseAutoencoder

LEAST_STABILITY = 0.6
"""Mean adjusted Rand index, or mean best Jaccard index of a cluster, below which it is flagged (Hennig, 2007)."""
SEEDS = 3
"""Repetitions that stability is the mean of."""
DRAWN_SHARE = 0.8
"""Share of the rows that each repetition draws: k-means has another start besides, HDBSCAN has no chance of its own."""
_STARTS = 4
"""Starts of k-means, of which the best counts."""
NOISE = -1
"""Label of features that are in no cluster."""

Method = Literal["kmeans", "hdbscan"]


@dataclass(frozen=True)
class ClusterSettings:
    """How features are clustered.

    Raises:
        SettingsError: an unknown method, or numbers that leave nothing to cluster.
    """

    method: Method = "kmeans"
    n_clusters: int | None = None
    """Of k-means; None: sqrt(rows / 2), rounded."""
    min_cluster_size: int = 5
    """Of HDBSCAN."""
    n_components: int = 50
    """Principal components that are clustered."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("kmeans", "hdbscan"):
            raise SettingsError(f"unknown clustering {self.method!r}", cure="choose kmeans or hdbscan")
        for name, least in (("n_clusters", 1), ("min_cluster_size", 2), ("n_components", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}", cure=f"choose {least} or more")


@dataclass(frozen=True)
class FeatureClusters:
    """The clusters of the living features of one SAE, numbered by falling size; of equal sizes by their first row."""

    settings: ClusterSettings
    versions: dict[str, str]
    """Of the libraries that made them."""
    feature_id: np.ndarray
    """[n] int64, features that were clustered."""
    cluster: np.ndarray
    """[n] int64, number of each feature's cluster; -1 for noise (HDBSCAN)."""
    n_left_out: int
    """Features that are dead or have no direction: they have no cluster."""
    stability: float
    """Mean adjusted Rand index over three seeds between this clustering and that of 80 % of the rows, on these; features
    that are noise are clusters of their own. NaN where there is no cluster."""
    stability_by_chance: float
    """The same for as many normal points that spread as far along each principal component: one cloud, without clusters."""
    unstable: bool | None
    """Whether the stability is below ``LEAST_STABILITY``; None where it is not known."""
    size: np.ndarray
    """[clusters] int64, features in each."""
    cluster_stability: np.ndarray
    """[clusters] mean over the seeds of the largest Jaccard index with a cluster of that repetition."""
    cluster_unstable: np.ndarray
    """[clusters] bool, below ``LEAST_STABILITY``."""
    similarity_within: np.ndarray
    """[clusters] mean cosine of two different features of the cluster; NaN of one feature."""
    similarity_outside: np.ndarray
    """[clusters] mean cosine of its features with all others; NaN where there is no other."""
    medoid: np.ndarray
    """[clusters] int64, the feature with the largest mean cosine to its cluster."""
    similarity: float
    """Mean cosine of two different features, over all pairs; NaN of one feature."""
    nearest_similarity: float
    """Mean over the features of the largest cosine with another one."""
    reason: str | None
    """Why numbers are missing; None where none is."""


def cluster_features(
    sae: SparseAutoencoder, active: np.ndarray, settings: ClusterSettings | None = None
) -> FeatureClusters:
    """Cluster the decoder directions of the features that are not dead.

    Unit rows are put in an order by their content, equal rows once, and brought to their first principal components;
    k-means weighs a row by the features that share it. The order of the features changes nothing.

    Args:
        sae: whose decoder rows are clustered.
        active: [d_sae] bool, features that are active on held-out tokens.
        settings: default ``ClusterSettings()``.

    Raises:
        InputError: the mask does not fit, or fewer rows than clusters, or fewer than two.
    """
    settings = settings or ClusterSettings()
    given = canonical_rows(sae, active)
    if len(given.rows) < 2:
        raise InputError(
            f"{len(given.rows)} different decoder row of a living feature cannot be clustered", cure="use a wider SAE"
        )
    n_clusters = settings.n_clusters or max(2, round((len(given.rows) / 2) ** 0.5))
    if settings.method == "kmeans" and n_clusters > len(given.rows):
        raise InputError(
            f"{n_clusters} clusters of {len(given.rows)} different living features", cure="choose fewer clusters"
        )
    points, _ = principal_coordinates(given.rows, settings.n_components)
    clustering = _Clustering(settings, n_clusters)
    with one_thread():
        labels = _renumbered(clustering.labels(points, given.weight, settings.seed), given.weight)
        found = _repeat(clustering, points, given.weight, labels)
        rng = np.random.default_rng(settings.seed)
        one_cloud = rng.normal(size=points.shape) * points.std(0)
        by_chance = _repeat(
            clustering, one_cloud, given.weight, clustering.labels(one_cloud, given.weight, settings.seed)
        )
    stability = found.mean_index()
    groups = _Groups(given, labels)
    jaccard = found.mean_jaccard(int(labels.max(initial=NOISE)) + 1)
    return FeatureClusters(
        settings=settings,
        versions=library_versions(("numpy", "scipy", "scikit-learn")),
        feature_id=given.feature_id,
        cluster=labels[given.place],
        n_left_out=given.n_left_out,
        stability=stability,
        stability_by_chance=by_chance.mean_index(),
        unstable=None if np.isnan(stability) else stability < LEAST_STABILITY,
        size=groups.size,
        cluster_stability=jaccard,
        cluster_unstable=jaccard < LEAST_STABILITY,
        similarity_within=groups.within(),
        similarity_outside=groups.outside(),
        medoid=groups.medoids(),
        similarity=groups.similarity(),
        nearest_similarity=groups.nearest(),
        reason="every feature is noise: there is no cluster" if np.isnan(stability) else None,
    )


@dataclass(frozen=True)
class _Clustering:
    settings: ClusterSettings
    n_clusters: int

    def labels(self, points: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
        """[m] labels of points [m, k]; -1 for noise."""
        from sklearn.cluster import HDBSCAN, KMeans

        if self.settings.method == "kmeans":
            found: np.ndarray = (
                KMeans(min(self.n_clusters, len(points)), n_init=_STARTS, random_state=seed, algorithm="lloyd")
                .fit(points, sample_weight=weight)
                .labels_
            )
            return found.astype(np.int64)
        size = min(self.settings.min_cluster_size, len(points))
        if size < 2:
            return np.full(len(points), NOISE)
        labels: np.ndarray = HDBSCAN(min_cluster_size=size, copy=True).fit(points).labels_
        return np.where(labels < 0, NOISE, labels).astype(np.int64)


@dataclass(frozen=True)
class _Repetitions:
    """What repetitions on some of the rows say; NaN where there is nothing to compare."""

    index: list[float]
    """Adjusted Rand index of each."""
    jaccard: list[np.ndarray]
    """[clusters] largest Jaccard index of each cluster, of each repetition."""

    def mean_index(self) -> float:
        return float(np.mean(self.index))

    def mean_jaccard(self, n_clusters: int) -> np.ndarray:
        found: np.ndarray = np.mean([row[:n_clusters] for row in self.jaccard], axis=0)
        return found


def _repeat(clustering: _Clustering, points: np.ndarray, weight: np.ndarray, labels: np.ndarray) -> _Repetitions:
    from sklearn.metrics import adjusted_rand_score

    index, jaccard = [], []
    for number in range(1, SEEDS + 1):
        seed = clustering.settings.seed + number
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.choice(len(points), max(2, round(DRAWN_SHARE * len(points))), replace=False))
        other, own = clustering.labels(points[drawn], weight[drawn], seed), labels[drawn]
        nothing = (own == NOISE).all() and (other == NOISE).all()
        index.append(np.nan if nothing else adjusted_rand_score(_alone(own), _alone(other)))
        jaccard.append(_largest_jaccard(own, other, int(labels.max(initial=NOISE)) + 1))
    return _Repetitions(index, jaccard)


def _alone(labels: np.ndarray) -> np.ndarray:
    """The labels with every row that is noise in a cluster of its own."""
    return np.where(labels == NOISE, labels.max(initial=NOISE) + 1 + np.arange(len(labels)), labels)


def _largest_jaccard(own: np.ndarray, other: np.ndarray, n_clusters: int) -> np.ndarray:
    """[clusters] largest Jaccard index of the rows of each cluster with those of another clustering; NaN of none."""
    n_others = int(other.max(initial=NOISE)) + 1
    both = np.zeros((n_clusters, n_others))
    placed = (own != NOISE) & (other != NOISE)
    np.add.at(both, (own[placed], other[placed]), 1)
    sizes = np.bincount(own[own != NOISE], minlength=n_clusters)
    union = sizes[:, None] + np.bincount(other[other != NOISE], minlength=n_others) - both
    largest = (both / np.maximum(union, 1)).max(1, initial=0.0)
    return np.where(sizes > 0, largest, np.nan)


def _renumbered(labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The labels of rows in their canonical order numbered by falling number of features, then by the first row."""
    clusters, first, place = np.unique(labels, return_index=True, return_inverse=True)
    size = np.bincount(place, weight)
    order = np.lexsort((first, -size, clusters == NOISE))
    number = np.empty(len(clusters), dtype=np.int64)
    number[order] = np.arange(len(clusters))
    number[clusters == NOISE] = NOISE
    return number[place]


class _Groups:
    """Cosines of features within and between clusters, from sums of unit rows; never of a feature with itself."""

    def __init__(self, given: CanonicalRows, labels: np.ndarray):
        self._given, self._labels = given, labels
        self._rows, self._weight = given.rows, given.weight.astype(np.float64)
        n_clusters = int(labels.max(initial=NOISE)) + 1
        self._sums = np.zeros((n_clusters, self._rows.shape[1]))
        placed = labels != NOISE
        np.add.at(self._sums, labels[placed], self._rows[placed] * self._weight[placed, None])
        self.size = np.bincount(labels[placed], self._weight[placed], minlength=n_clusters).astype(np.int64)
        self._whole = self._rows.T @ self._weight

    def within(self) -> np.ndarray:
        """(|sum u|^2 - n) / (n (n - 1))."""
        n = self.size.astype(np.float64)
        return ratio(np.square(self._sums).sum(1) - n, n * (n - 1))

    def outside(self) -> np.ndarray:
        n = self.size.astype(np.float64)
        products = np.einsum("cd,cd->c", self._sums, self._whole - self._sums)
        return ratio(products, n * (self._weight.sum() - n))

    def similarity(self) -> float:
        n = self._weight.sum()
        return float(ratio(self._whole @ self._whole - n, n * (n - 1)))

    def nearest(self) -> float:
        """Of a row that several features share it is 1."""
        largest = np.empty(len(self._rows))
        for start in range(0, len(self._rows), 1024):
            products = self._rows[start : start + 1024] @ self._rows.T
            own = np.arange(len(products))
            products[own, start + own] = np.where(self._weight[start + own] > 1, 1.0, -np.inf)
            largest[start : start + len(products)] = products.max(1)
        return float(np.clip((largest @ self._weight) / self._weight.sum(), -1, 1))

    def medoids(self) -> np.ndarray:
        """The feature whose row is nearest to the sum of its cluster's, of equal ones the first in canonical order."""
        found = np.full(len(self.size), -1)
        first = np.full(len(self._rows), self._given.feature_id.max(initial=0) + 1)
        np.minimum.at(first, self._given.place, self._given.feature_id)
        for cluster in range(len(self.size)):
            members = np.flatnonzero(self._labels == cluster)
            found[cluster] = first[members[(self._rows[members] @ self._sums[cluster]).argmax()]]
        return found
