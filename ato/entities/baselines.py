"""What a latent must beat: names' lengths, popularity, confidence, and a linear probe, on the same test entities."""

from dataclasses import dataclass

import numpy as np

from ato.entities.groups import FIRST, SPLITS, EntityGroups
from ato.errors import InputError, NonFiniteError
from ato.numerics.auroc import TypeAurocs, auroc_by_type
from ato.numerics.counter_rng import uniforms

NUMBERS = ("n_tokens", "n_characters", "popularity", "token_frequency", "confidence")
"""Numbers that each entity has without its residual."""
BASELINES = (*NUMBERS, "probe")
"""Names of the scores that stand beside every latent: tokens and characters of the name, popularity, mean log-frequency of
its tokens, mean log-probability of the model's own answer, and the probe on the residual."""
CONFOUNDED_ABOVE = 0.6
"""AUROC of the token count alone above which a result is said to be confounded by length."""
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties C that the probe chooses from."""
_FOLDS = 5


@dataclass(frozen=True)
class BaselineScore:
    """One score that needs no SAE, oriented on train entities and measured on test entities."""

    name: str
    orientation: int
    """1 if it is higher in the first class on train, -1 if lower, 0 if train does not say."""
    auroc: TypeAurocs
    """On test entities, within type and over types; missing without an orientation."""
    n_missing: int
    """Test entities of both classes that have no value."""


def score_baseline(name: str, values: np.ndarray, groups: EntityGroups) -> BaselineScore:
    """A baseline's AUROC on test, in the direction in which it separates the classes on train.

    Args:
        name: of the baseline.
        values: [n]; NaN where an entity has none, which leaves it out.
        groups: the entities.

    Raises:
        InputError: there are not n values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (groups.n,):
        raise InputError(f"{groups.n} entities and values of shape {values.shape}", where=name)
    train = oriented_auroc(values, groups, "train", 1)
    mean = train.mean.value
    orientation = 0 if mean is None else 1 if mean >= 0.5 else -1
    missing = int((np.isnan(values) & groups.members("test")).sum())
    return BaselineScore(name, orientation, oriented_auroc(values, groups, "test", orientation), missing)


def oriented_auroc(values: np.ndarray, groups: EntityGroups, split: str, orientation: int) -> TypeAurocs:
    """AUROC of a score or a latent in a direction that train decided (1, -1; 0 gives none), on one split."""
    inside = groups.members(split)
    scores = np.asarray(values, dtype=np.float64)[inside] * (orientation or np.nan)
    return auroc_by_type(scores, groups.label[inside], groups.entity_type[inside], groups.n_types)


@dataclass(frozen=True)
class LengthCheck:
    """Whether token counts alone tell the classes apart."""

    auroc: float | None
    """Of the token count on the test entities that are compared; None where no type has both classes."""
    auroc_unmatched: float | None
    """On all test entities, before classes were matched."""
    confounded: bool
    said: str
    """One sentence for reports; empty if there is nothing to say."""


def confounded(auroc: float | None, limit: float = CONFOUNDED_ABOVE) -> bool:
    """Whether an AUROC of the token count alone is too high for a result to be more than length; False if missing."""
    return auroc is not None and bool(auroc > limit)


def check_length(
    n_tokens: np.ndarray,
    groups: EntityGroups,
    matched: np.ndarray | None = None,
    limit: float = CONFOUNDED_ABOVE,
) -> LengthCheck:
    """Whether the token count alone separates the classes on test.

    Where matching leaves no type with both classes, length and label cannot be told apart at all, and what counts is
    the AUROC before matching.

    Args:
        n_tokens: [n] tokens of each name.
        groups: the entities before matching.
        matched: [n] bool, those kept by ``match_on_tokens``; None if classes are not matched.
        limit: AUROC above which classes are said to differ by length.
    """
    before = score_baseline("n_tokens", n_tokens, groups)
    after = before if matched is None else score_baseline("n_tokens", n_tokens, groups.only(matched))
    compared, unmatched = after.auroc.mean.value, before.auroc.mean.value
    deciding = unmatched if compared is None else compared
    if not confounded(deciding, limit):
        return LengthCheck(compared, unmatched, False, "")
    gone = compared is None and matched is not None
    left = "; no class is left after matching on it" if gone else ""
    said = f"the token count alone separates the classes with AUROC {deciding:.2f} on test{left}"
    return LengthCheck(compared, unmatched, True, said)


@dataclass(frozen=True)
class ProbeScores:
    """A linear probe's log-odds of the first class; train decides their direction, see ``oriented_auroc``."""

    scores: np.ndarray
    """[n] of validation and test entities; NaN on train, whose entities it was fitted on, and without a probe."""
    c: float | None
    """Inverse penalty that cross-validation on train chose; None without a probe."""
    reason: str = ""
    """Why there is no probe."""


def linear_probe(residuals: np.ndarray, groups: EntityGroups, seed: int = 0) -> ProbeScores:
    """Logistic regression on standardised residuals of train entities, C by their cross-validated log-loss.

    Means, deviations and C are made from train alone; folds depend on (seed, key) and rows are read by key, so that
    the order of the entities changes nothing. scikit-learn's solver (lbfgs) does the fits.

    Args:
        residuals: [n, d] at one layer and position.
        groups: the entities.
        seed: of the folds.

    Raises:
        InputError: there are not n residuals.
        NonFiniteError: a residual is NaN or infinite.
    """
    if residuals.ndim != 2 or len(residuals) != groups.n:
        raise InputError(f"{groups.n} entities and residuals of shape {residuals.shape}", cure="pass [n, d]")
    if not np.isfinite(residuals).all():
        raise NonFiniteError("residual is NaN or infinite", cure="leave those entities out")
    scores = np.full(groups.n, np.nan)
    train = np.flatnonzero(groups.members("train"))
    train = train[np.argsort(groups.key[train])]
    y = groups.label[train] == FIRST
    smallest = min(int(y.sum()), int((~y).sum()))
    if smallest < 2:
        classes = " or ".join(groups.contrast)
        return ProbeScores(scores, None, f"fewer than two {classes} entities in train")
    x = residuals[train].astype(np.float64)
    folds = _folds(y, uniforms(seed, groups.key[train]), min(_FOLDS, smallest))
    losses = [_held_out_loss(x, y, folds, c) for c in _STRENGTHS]
    c = _STRENGTHS[int(np.argmin(losses))]
    held_out = np.flatnonzero(np.isin(groups.split, [SPLITS.index("validation"), SPLITS.index("test")]))
    held_out = held_out[np.argsort(groups.key[held_out])]  # products round a row by its place in the matrix
    if len(held_out):
        scores[held_out] = _Probe(x, y, c).decision_function(residuals[held_out].astype(np.float64))
    return ProbeScores(scores, c)


def _folds(y: np.ndarray, draw: np.ndarray, n_folds: int) -> np.ndarray:
    """[n] fold of each entity: each class is dealt out by its draws."""
    fold = np.empty(len(y), dtype=np.int64)
    for label in (False, True):
        rows = np.flatnonzero(y == label)
        fold[rows[np.argsort(draw[rows], kind="stable")]] = np.arange(len(rows)) % n_folds
    return fold


def _held_out_loss(x: np.ndarray, y: np.ndarray, folds: np.ndarray, c: float) -> float:
    """Mean log-loss of each fold under the probe fitted on the others."""
    total = 0.0
    for fold in range(folds.max() + 1):
        out = folds == fold
        logits = _Probe(x[~out], y[~out], c).decision_function(x[out])
        total += float(np.logaddexp(0, np.where(y[out], -logits, logits)).sum())
    return total / len(y)


class _Probe:
    """A logistic regression on standardised columns."""

    def __init__(self, x: np.ndarray, y: np.ndarray, c: float):
        from sklearn.linear_model import LogisticRegression

        self._mean, self._scale = x.mean(0), x.std(0)
        self._scale[self._scale <= 1e-12 * np.abs(self._mean)] = np.inf  # a constant column says nothing
        self._regression = LogisticRegression(C=c, max_iter=1000).fit(self._standardised(x), y)

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        standardised: np.ndarray = (x - self._mean) / self._scale
        return standardised

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        """Log-odds [n]."""
        return np.asarray(self._regression.decision_function(self._standardised(x)), dtype=np.float64)
