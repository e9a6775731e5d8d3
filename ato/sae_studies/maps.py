"""Maps of decoder directions in two dimensions by UMAP or PCA: the same for the same seed and any order of features."""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from ato.errors import InputError, SettingsError, UnavailableError
from ato.sae_studies.canonical import canonical_rows, library_versions, one_thread, principal_coordinates
from ato.saes.autoencoder import SparseAutoencoder

MapMethod = Literal["auto", "umap", "pca"]
_JUDGED_ROWS = 2000
"""Rows that the trustworthiness is measured on at most: it needs all their distances."""
_CHUNK = 1024
"""Rows whose distances to all others are held at once."""
_FEWEST_ROWS = 5
"""Rows below which UMAP's layout cannot begin."""


@dataclass(frozen=True)
class MapSettings:
    """How features are mapped.

    Raises:
        SettingsError: an unknown method, or numbers out of range.
    """

    method: MapMethod = "auto"
    """auto: UMAP where the extra ``maps`` is installed and there are rows enough, else PCA; the result says which."""
    n_neighbours: int = 15
    """Neighbours of a row that UMAP keeps near, and that the trustworthiness counts."""
    min_dist: float = 0.1
    """Smallest distance of points in UMAP's layout."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("auto", "umap", "pca"):
            raise SettingsError(f"unknown map {self.method!r}", cure="choose auto, umap or pca")
        if self.n_neighbours < 2 or not 0 <= self.min_dist <= 1:
            raise SettingsError(
                f"a map with {self.n_neighbours} neighbours and min_dist {self.min_dist:g}",
                cure="choose 2 neighbours or more and a distance from 0 to 1",
            )


@dataclass(frozen=True)
class FeatureMap:
    """The living features of one SAE in the plane."""

    settings: MapSettings
    method: str
    """``umap`` or ``pca``: what the coordinates were made by."""
    reason: str | None
    """Why ``auto`` was PCA; None otherwise."""
    versions: dict[str, str]
    """Of the libraries that made it: other versions may make other maps."""
    feature_id: np.ndarray
    """[n] int64, features on the map."""
    x: np.ndarray
    """[n] float64, in units of the method's own; equal decoder rows have one place."""
    y: np.ndarray
    n_left_out: int
    """Features that are dead or have no direction: they have no place."""
    explained_share: float
    """Share of the rows' variance that the two first principal components hold, whatever the method; NaN of equal rows."""
    trustworthiness: float
    """1 if every neighbour on the map is a neighbour by cosine (Venna and Kaski, 2001); NaN of too few rows."""
    trustworthiness_pca: float
    """That of the two first principal components: the baseline."""
    trustworthiness_shuffled: float
    """That of the map with its places exchanged at random: the null, near 0.5."""
    n_judged: int
    """Rows that the trustworthiness was measured on."""


def map_features(sae: SparseAutoencoder, active: np.ndarray, settings: MapSettings | None = None) -> FeatureMap:
    """Map the decoder directions of the features that are not dead.

    Unit rows are put in an order by their content, equal rows once; UMAP has the cosine as its distance, the seed, and
    one thread. The same seed gives the same map in one process and in another with the same libraries and processor;
    features in another order have the same places.

    Args:
        sae: whose decoder rows are mapped.
        active: [d_sae] bool, features that are active on held-out tokens.
        settings: default ``MapSettings()``.

    Raises:
        InputError: the mask does not fit, no feature is left, or too few for UMAP, which was asked for.
        UnavailableError: UMAP was asked for and is not installed.
    """
    settings = settings or MapSettings()
    given = canonical_rows(sae, active)
    m = len(given.rows)
    if m == 0:
        raise InputError("no living feature to map", cure="use an SAE with features that are active")
    method, reason = _method(settings, m)
    with one_thread():
        plane, share = principal_coordinates(given.rows, 2)
        flat = np.zeros((m, 2))
        flat[:, : plane.shape[1]] = plane
        places = _umap(given.rows, settings) if method == "umap" else flat
        judged = _Trust.of(given.rows, settings)
        found = [judged.of_places(one) for one in (places, flat, judged.shuffled(places))]
    libraries = ("numpy", "scipy", "scikit-learn") + (
        ("umap-learn", "numba", "pynndescent") if method == "umap" else ()
    )
    return FeatureMap(
        settings=settings,
        method=method,
        reason=reason,
        versions=library_versions(libraries),
        feature_id=given.feature_id,
        x=places[given.place, 0],
        y=places[given.place, 1],
        n_left_out=given.n_left_out,
        explained_share=share,
        trustworthiness=found[0],
        trustworthiness_pca=found[1],
        trustworthiness_shuffled=found[2],
        n_judged=len(judged.chosen),
    )


def _method(settings: MapSettings, m: int) -> tuple[str, str | None]:
    """The method, and why it is not UMAP where either would do."""
    if settings.method == "pca":
        return "pca", None
    problem: UnavailableError | InputError | None = None
    if find_spec("umap") is None:
        problem = UnavailableError("UMAP is not installed", cure="install the extra maps, or choose pca")
    elif m < _FEWEST_ROWS:
        problem = InputError(f"{m} different living features are too few for UMAP", cure="choose pca")
    if problem is None:
        return "umap", None
    if settings.method == "umap":
        raise problem
    return "pca", problem.what


def _umap(rows: np.ndarray, settings: MapSettings) -> np.ndarray:
    """[m, 2] float64."""
    import umap

    options: dict[str, Any] = {
        "n_components": 2,
        "n_neighbors": min(settings.n_neighbours, len(rows) - 1),
        "min_dist": settings.min_dist,
        "metric": "cosine",
        "init": "pca",  # the spectral start of a graph in several parts draws at random
        "random_state": settings.seed,
        "n_jobs": 1,
    }
    # Exact neighbours, where UMAP's own are approximate and drawn at random from 4,096 rows on; it also compiles less.
    options["precomputed_knn"] = _neighbours(rows, options["n_neighbors"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places: np.ndarray = umap.UMAP(**options).fit_transform(rows.astype(np.float32))
    return places.astype(np.float64)


def _neighbours(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row itself and the k - 1 nearest by cosine: indices [m, k], nearest first, and distances [m, k] float32."""
    index = np.empty((len(rows), k), dtype=np.int64)
    distance = np.empty((len(rows), k), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        away = 1 - rows[start : start + _CHUNK] @ rows.T
        own = np.arange(len(away))
        away[own, start + own] = -np.inf  # the row itself comes first, whatever rounding says
        near = np.argpartition(away, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(near, np.argsort(np.take_along_axis(away, near, 1), axis=1, kind="stable"), 1)
        part = slice(start, start + len(away))
        index[part], distance[part] = near, np.maximum(np.take_along_axis(away, near, 1), 0)
    return index, distance


@dataclass(frozen=True)
class _Trust:
    """How far neighbours on a map are neighbours by cosine, on some of the rows."""

    rows: np.ndarray
    chosen: np.ndarray
    n_neighbours: int
    seed: int

    @classmethod
    def of(cls, rows: np.ndarray, settings: MapSettings) -> "_Trust":
        m = len(rows)
        chosen = np.arange(m)
        if m > _JUDGED_ROWS:
            chosen = np.sort(np.random.default_rng(settings.seed).choice(m, _JUDGED_ROWS, replace=False))
        # Defined for fewer neighbours than half of the rows.
        return cls(rows, chosen, min(settings.n_neighbours, (len(chosen) - 1) // 2), settings.seed)

    def of_places(self, places: np.ndarray) -> float:
        from sklearn.manifold import trustworthiness

        if self.n_neighbours < 1:
            return float("nan")
        return float(
            trustworthiness(self.rows[self.chosen], places[self.chosen], n_neighbors=self.n_neighbours, metric="cosine")
        )

    def shuffled(self, places: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.random.default_rng(self.seed).permutation(places)
        return found
