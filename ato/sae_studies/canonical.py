"""Decoder rows in an order that depends on their content alone, so that no study of them depends on how they come."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from ato.errors import InputError
from ato.saes.autoencoder import SparseAutoencoder


@dataclass(frozen=True)
class CanonicalRows:
    """The different unit decoder rows of the features that are studied, ordered by content."""

    feature_id: np.ndarray
    """[n] int64, features studied, ascending: those that are active and have a decoder row."""
    rows: np.ndarray
    """[m, d_in] float64 unit rows, each once, m <= n."""
    place: np.ndarray
    """[n] int64, where each feature's row is among them."""
    n_left_out: int
    """Features that are dead or have no direction."""

    @property
    def weight(self) -> np.ndarray:
        """[m] int64, features that share each row."""
        return np.bincount(self.place, minlength=len(self.rows))


def canonical_rows(sae: SparseAutoencoder, active: np.ndarray) -> CanonicalRows:
    """The rows of an SAE to be clustered or mapped.

    Args:
        sae: whose decoder rows are read.
        active: [d_sae] bool, features that are not dead.

    Raises:
        InputError: the mask is not [d_sae] bool.
    """
    active = np.asarray(active)
    if active.shape != (sae.d_sae,) or active.dtype != bool:
        raise InputError(
            f"active features given as {active.dtype} of shape {active.shape}",
            cure=f"give a mask of {sae.d_sae} booleans",
        )
    feature_id = np.flatnonzero(active & (sae.decoder_norms > 0).cpu().numpy())
    own = sae.W_dec.detach().cpu().numpy()[feature_id] + 0.0  # -0.0 is 0.0
    content = [row.tobytes() for row in own]
    order = {row: number for number, row in enumerate(sorted(set(content)))}
    place = np.array([order[row] for row in content], dtype=np.int64)
    rows = np.empty((len(order), own.shape[1]))
    rows[place] = own
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return CanonicalRows(feature_id, rows, place, sae.d_sae - len(feature_id))


def principal_coordinates(rows: np.ndarray, n_components: int) -> tuple[np.ndarray, float]:
    """Coordinates [m, k] of rows [m, d] on their first k principal components, and the share of the variance they hold.

    k is at most the rank that m rows in d dimensions can have; the share is NaN where all rows are equal.
    """
    centred = rows - rows.mean(0)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    k = max(1, min(n_components, len(rows) - 1, rows.shape[1]))
    # Signs of singular vectors are arbitrary: the largest entry of each direction is made positive.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(1)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    whole = np.square(strength).sum()
    share = float(np.square(strength[:k]).sum() / whole) if whole > 0 else float("nan")
    return centred @ directions[:k].T, share


@contextmanager
def one_thread() -> Iterator[None]:
    """All native libraries loaded by now work on one thread: sums over several differ from run to run."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed version of each distribution: other versions may give other clusters and maps."""
    return {name: version(name) for name in names}
