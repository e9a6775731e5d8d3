"""Dictionaries compared by their decoder rows: redundancy within one, agreement of two, recovery of a planted one.

Cosines are made a few thousand rows at a time; only the matching of two dictionaries needs all of them at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import InputError
from ato.numerics.intervals import Estimate
from ato.sae_studies.metrics import Metric

AGREES_FROM = 0.9
"""Cosine from which two features count as the same."""
MAX_MATCHED = 8192
"""Features a dictionary up to which two are matched one to one: 0.5 GB of cosines, and a minute."""

_NULL_STREAM = 1605
"""Beside the seed: a random dictionary of the same seed that is compared is not the null's."""
_COSINES = 1 << 24
"""Cosines that are held at once (64 MB in float32)."""


@dataclass(frozen=True)
class Redundancy:
    """How close each decoder row of a dictionary is to another one."""

    largest: np.ndarray
    """[d_sae] largest cosine with another row; NaN for rows left out, and where no other row is left."""
    nearest: np.ndarray
    """[d_sae] int64, that row; -1 where there is none."""
    mean: float | None
    """Over the rows that are not left out; None with fewer than two."""
    n: int
    """Rows that are not left out: neither zero nor dead."""

    def metrics(self) -> list[Metric]:
        """As a row of the comparison."""
        reason = None if self.mean is not None else "fewer than two features are alive"
        return [Metric("decoder_redundancy", Estimate(self.mean), self.n, reason=reason)]


@dataclass(frozen=True)
class Agreement:
    """How far two dictionaries have the same directions."""

    matched_cosine: float | None
    """Mean cosine of the pairs of an optimal matching; None where there is none, see ``reason``."""
    matched_share: float | None
    """Share of these pairs with a cosine of at least ``AGREES_FROM``."""
    n_matched: int
    """Pairs: as many as the smaller dictionary has features."""
    max_cosine: tuple[float | None, float | None]
    """Mean over the features of the first of the largest cosine with one of the second, and the other way round."""
    n: tuple[int, int]
    """Features of both that are neither zero nor dead."""
    partner: np.ndarray
    """[d_sae of the first] int64, the matched feature of the second; -1 without one."""
    null: "Agreement | None" = None
    """The first against a random dictionary of as many directions as the second has: what chance gives."""
    reason: str | None = None
    """Why there is no matching."""

    def metrics(self, detail: str = "") -> list[Metric]:
        """As rows of the comparison.

        Args:
            detail: with which dictionary the agreement is.
        """
        rows = [
            ("matched_cosine", self.matched_cosine, self.n_matched, detail, self.reason),
            ("matched_share", self.matched_share, self.n_matched, f"{detail} from {AGREES_FROM:g}", self.reason),
            ("max_cosine", self.max_cosine[0], self.n[0], f"{detail} from the first", _NO_FEATURE),
            ("max_cosine", self.max_cosine[1], self.n[1], f"{detail} from the second", _NO_FEATURE),
        ]
        return [
            Metric(name, Estimate(value), n, detail=said.strip(), reason=reason if value is None else None)
            for name, value, n, said, reason in rows
        ]


_NO_FEATURE = "a dictionary has no living feature"


def decoder_redundancy(W_dec: torch.Tensor, alive: np.ndarray | None = None) -> Redundancy:
    """Largest cosine of each decoder row with another one; duplicates have 1.

    Args:
        W_dec: [d_sae, d].
        alive: [d_sae] bool; dead features are left out, as rows of zeros are. Default all.

    Raises:
        InputError: shapes that do not fit, or NaN or infinity.
    """
    rows, kept = _unit_rows(W_dec, alive)
    largest, nearest = np.full(len(W_dec), np.nan), np.full(len(W_dec), -1)
    if len(rows) > 1:
        found = [cosines.max(1) for cosines in _cosines(rows, rows, itself=True)]
        largest[kept] = torch.cat([best.values for best in found]).clamp(-1, 1).cpu().numpy()
        nearest[kept] = kept[torch.cat([best.indices for best in found]).cpu().numpy()]
    return Redundancy(largest, nearest, float(np.nanmean(largest)) if len(rows) > 1 else None, len(rows))


def dictionary_agreement(
    first: torch.Tensor,
    second: torch.Tensor,
    alive_first: np.ndarray | None = None,
    alive_second: np.ndarray | None = None,
    *,
    max_matched: int = MAX_MATCHED,
    seed: int | None = 0,
) -> Agreement:
    """Agreement of two dictionaries, whatever the order of their features.

    The matching is the one whose sum of cosines is largest (Kuhn, 1955; SciPy's ``linear_sum_assignment``).

    Args:
        first: decoder rows [m, d].
        second: decoder rows [n, d].
        alive_first: [m] bool; dead features are left out, as rows of zeros are. Default all.
        alive_second: [n] bool.
        max_matched: features of a dictionary beyond which no matching is made, for its memory and time.
        seed: of the random dictionary that the null is made with; None leaves the null out.

    Raises:
        InputError: shapes that do not fit, other widths, or NaN or infinity.
    """
    (a, kept_a), (b, kept_b) = _unit_rows(first, alive_first), _unit_rows(second, alive_second)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"dictionaries of widths {a.shape[1]} and {b.shape[1]}", cure="compare SAEs of one place")
    if min(len(a), len(b)) == 0:
        partner = np.full(len(first), -1)
        return Agreement(None, None, 0, (None, None), (len(a), len(b)), partner, reason=_NO_FEATURE)
    null = None
    if seed is not None:
        random = torch.from_numpy(np.random.default_rng([seed, _NULL_STREAM]).standard_normal(b.shape)).to(a)
        null = dictionary_agreement(a, random, max_matched=max_matched, seed=None)
    reach = (float(largest_cosines(a, b).mean()), float(largest_cosines(b, a).mean()))
    partner, sizes = np.full(len(first), -1), (len(a), len(b))
    if max(sizes) > max_matched:
        reason = f"{max(sizes):,} features are more than max_matched = {max_matched:,}"
        return Agreement(None, None, 0, reach, sizes, partner, null, reason)
    from scipy.optimize import linear_sum_assignment

    cosines = (a @ b.T).clamp(-1, 1).cpu().numpy()
    row, column = linear_sum_assignment(cosines, maximize=True)
    matched = cosines[row, column].astype(np.float64)
    partner[kept_a[row]] = kept_b[column]
    share = float((matched >= AGREES_FROM).mean())
    return Agreement(float(matched.mean()), share, len(row), reach, sizes, partner, null)


def recovery(true: torch.Tensor, found: torch.Tensor, alive: np.ndarray | None = None) -> Metric:
    """Mean over true directions of the largest |cosine| with a decoder row.

    Args:
        true: [m, d] planted directions; rows of zeros are left out.
        found: [n, d] decoder rows.
        alive: [n] bool; dead features are left out, as rows of zeros are. Default all.

    Returns:
        The metric ``recovery``; missing where nothing is planted or no feature is alive.

    Raises:
        InputError: shapes that do not fit, or NaN or infinity.
    """
    (directions, _), (rows, _) = _unit_rows(true, None), _unit_rows(found, alive)
    if directions.shape[1] != rows.shape[1]:
        raise InputError(f"directions of widths {directions.shape[1]} and {rows.shape[1]}", cure="use one width")
    if not len(directions) or not len(rows):
        reason = "no direction is planted" if not len(directions) else "no feature is alive"
        return Metric("recovery", Estimate(None), len(directions), reason=reason)
    largest = [cosines.abs().max(1).values for cosines in _cosines(directions, rows)]
    value = float(torch.cat(largest).clamp(max=1).double().mean())
    return Metric("recovery", Estimate(value), len(directions))


def largest_cosines(rows: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """[m] float64 largest cosine of each row [m, d] with one of the others [n, d]; rows of zeros are left out of both.

    Empty where a side has no row. A few thousand rows are compared at a time: 64 MB, whatever m and n.

    Raises:
        InputError: shapes that do not fit, or NaN or infinity.
    """
    (a, _), (b, _) = _unit_rows(rows, None), _unit_rows(others, None)
    if not len(a) or not len(b):
        return np.empty(0)
    largest = torch.cat([cosines.max(1).values for cosines in _cosines(a, b)])
    return largest.clamp(-1, 1).double().cpu().numpy()


def _unit_rows(W_dec: torch.Tensor, alive: np.ndarray | None) -> tuple[torch.Tensor, np.ndarray]:
    """Rows of length 1 that are neither zero nor dead [m, d] float32, and their numbers [m]."""
    W_dec = torch.as_tensor(W_dec)
    if W_dec.ndim != 2 or (alive is not None and np.shape(alive) != (len(W_dec),)):
        raise InputError(
            f"decoder rows of shape {tuple(W_dec.shape)} and alive of shape {None if alive is None else np.shape(alive)}",
            cure="pass [d_sae, d] and [d_sae]",
        )
    norms = W_dec.double().norm(dim=1)
    if not bool(torch.isfinite(norms).all()):
        raise InputError("a decoder row is NaN or infinite", cure="train the SAE again")
    kept = (norms > 0).cpu().numpy()
    kept = np.flatnonzero(kept if alive is None else kept & np.asarray(alive, dtype=bool))
    index = torch.from_numpy(kept).to(W_dec.device)
    return (W_dec[index].double() / norms[index][:, None]).float(), kept


def _cosines(a: torch.Tensor, b: torch.Tensor, *, itself: bool = False) -> Iterator[torch.Tensor]:
    """Cosines [r, n] of some rows of a with all of b; with ``itself``, -inf of a row with itself."""
    step = max(1, _COSINES // len(b))
    for start in range(0, len(a), step):
        cosines = a[start : start + step] @ b.T
        if itself:
            cosines[torch.arange(len(cosines)), torch.arange(start, start + len(cosines))] = -torch.inf
        yield cosines
