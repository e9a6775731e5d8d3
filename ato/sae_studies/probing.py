"""k-sparse probing: how well a few features tell the documents of a stratum from the rest (Kantamneni et al., 2025).

For each stratum, features and regression are chosen on train documents and judged on test documents. Beside the SAE's
features stand a dense probe on the mean residual, random features, and always saying the commoner class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import csr_array

from ato.errors import InputError
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate
from ato.sae_studies.metrics import Metric
from ato.sae_studies.probe_scores import ProbeScore, probe_score

METHODS = {
    "sae": "the k features whose means over train documents differ most",
    "random": "k random features that fire on train documents",
    "dense": "all dimensions of the mean residual, the penalty by cross-validation on train documents",
    "majority": "always the class that is commoner on train documents",
}
"""What a probe reads -> what that is."""


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are fitted."""

    ks: tuple[int, ...] = (1, 5, 20)
    """Features a probe may use."""
    min_documents: int = MIN_DOCUMENTS
    """Documents that the stratum and the rest must have on either split; with fewer there is no score."""
    c: float = 1.0
    """Inverse penalty of the regression on standardised features."""
    dense_cs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Inverse penalties among which cross-validation chooses for the dense probe."""
    n_random: int = 5
    """Draws of random features, over which scores are averaged."""
    seed: int = 0
    """Of random features and folds."""

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or self.min_documents < 2 or self.n_random < 1:
            raise InputError(
                f"ks = {self.ks}, min_documents = {self.min_documents} and n_random = {self.n_random}",
                where="probing",
                cure="choose at least one k of at least 1, 2 documents and 1 draw",
            )


@dataclass(frozen=True)
class StratumProbe:
    """One probe: a stratum against the rest."""

    stratum: str
    method: str
    """One of ``METHODS``."""
    k: int | None
    """Features it may use; None for what has no such limit."""
    auroc: Estimate
    """On test documents; None where there is no probe, see ``reason``."""
    accuracy: Estimate
    """Share of the test documents in the right class."""
    features: tuple[int, ...]
    """Those it uses; empty where that has no meaning."""
    n_train: int
    n_test: int
    n_positive: int
    """Test documents of the stratum."""
    reason: str | None = None
    """Why there is no probe."""


@dataclass(frozen=True)
class StrataProbes:
    """Probes of all strata of one kind of label."""

    name: str
    """Of the labels, such as topic."""
    probes: tuple[StratumProbe, ...]
    means: dict[tuple[str, int | None], tuple[Estimate, Estimate]]
    """(method, k) -> AUROC and accuracy, each averaged over the strata, with the interval by document."""
    n_test: int
    """Labelled test documents."""
    reason: str | None = None
    """Why no stratum has a probe."""

    def metrics(self) -> list[Metric]:
        """The means over strata as rows of the comparison."""
        rows = []
        for (method, k), estimates in self.means.items():
            detail = f"{self.name}, {method}" + ("" if k is None else f", k = {k}")
            for name, estimate in zip(("probe_auroc", "probe_accuracy"), estimates, strict=True):
                reason = self.reason if estimate.value is None else None
                rows.append(Metric(name, estimate, self.n_test, self.n_test, detail, reason))
        return rows


@dataclass(frozen=True)
class _Task:
    """Documents of one stratum against the rest."""

    stratum: str
    train: np.ndarray
    """[n_train] rows."""
    test: np.ndarray
    """[n_test] rows."""
    positive: np.ndarray
    """[documents] bool."""

    def reason(self, smallest: int) -> str | None:
        for split, rows in (("train", self.train), ("test", self.test)):
            inside = int(self.positive[rows].sum())
            for n, of in ((inside, self.stratum), (len(rows) - inside, "the rest")):
                if n < smallest:
                    return f"{n} documents of {of} in {split}, fewer than {smallest}"
        return None


def probe_features(
    means: csr_array,
    labels: Sequence[str | None],
    train: np.ndarray,
    settings: ProbeSettings | None = None,
    *,
    name: str,
) -> StrataProbes:
    """Probes on an SAE's features for every stratum, with random features and the commoner class beside them.

    Args:
        means: [documents, d_sae] mean activations, see ``DocumentActivations``.
        labels: [documents] stratum, such as the topic; None leaves a document out, as one without tokens must be.
        train: [documents] bool, on which features and regression are chosen; the others are test documents.
        settings: how probes are fitted.
        name: of the labels, such as topic.

    Raises:
        InputError: shapes that do not fit.
    """
    settings = settings or ProbeSettings()
    x, columns = csr_array(means), np.arange(means.shape[1])
    rng_of = np.random.default_rng

    def chosen(k: int, task: _Task) -> ProbeScore:
        positive, negative = (task.train[task.positive[task.train] == side] for side in (True, False))
        difference = np.abs(x[positive].mean(axis=0) - x[negative].mean(axis=0))
        features = np.argsort(-difference, kind="stable")[:k]
        score = _fitted(_dense(x, features), task, settings.c)
        return ProbeScore(score.auroc, score.accuracy, score.without, tuple(features.tolist()))

    def drawn(k: int, task: _Task) -> ProbeScore:
        firing = columns[np.bincount(x[task.train].indices, minlength=x.shape[1]) > 0]
        firing = firing if len(firing) else columns
        draws = [
            rng_of([settings.seed, k, draw]).choice(firing, min(k, len(firing)), replace=False)
            for draw in range(settings.n_random)
        ]
        return ProbeScore.mean([_fitted(_dense(x, np.sort(draw)), task, settings.c) for draw in draws])

    fits: dict[tuple[str, int | None], Callable[[_Task], ProbeScore]] = {}
    for k in settings.ks:
        fits["sae", k], fits["random", k] = partial(chosen, k), partial(drawn, k)
    fits["majority", None] = _majority
    return _probes(means.shape[0], labels, train, settings, name, fits)


def probe_residuals(
    means: np.ndarray,
    labels: Sequence[str | None],
    train: np.ndarray,
    settings: ProbeSettings | None = None,
    *,
    name: str,
) -> StrataProbes:
    """Dense probes on mean residuals [documents, d]: what a probe without an SAE reaches. See ``probe_features``.

    Args:
        means: [documents, d], see ``DocumentResiduals``.
        labels: [documents].
        train: [documents] bool.
        settings: how probes are fitted.
        name: of the labels.

    Raises:
        InputError: shapes that do not fit.
    """
    settings, x = settings or ProbeSettings(), np.asarray(means, dtype=np.float64)

    def fitted(task: _Task) -> ProbeScore:
        from sklearn.model_selection import StratifiedKFold

        own, y = x[task.train], task.positive[task.train]
        folds = StratifiedKFold(min(3, int(y.sum()), int((~y).sum())), shuffle=True, random_state=settings.seed)
        parts = list(folds.split(own, y))

        def loss(c: float) -> float:
            logits = [(out, _logits(own[rest], y[rest], own[out], c)) for rest, out in parts]
            return sum(float(np.logaddexp(0, np.where(y[out], -of, of)).sum()) for out, of in logits)

        return _fitted(x, task, min(settings.dense_cs, key=loss))

    return _probes(x.shape[0], labels, train, settings, name, {("dense", None): fitted})


def _probes(
    n: int,
    labels: Sequence[str | None],
    train: np.ndarray,
    settings: ProbeSettings,
    name: str,
    fits: dict[tuple[str, int | None], Callable[[_Task], ProbeScore]],
) -> StrataProbes:
    train = np.asarray(train, dtype=bool)
    if len(labels) != n or train.shape != (n,):
        raise InputError(
            f"{n} documents, {len(labels)} labels and train of shape {train.shape}", cure="pass one of each a document"
        )
    known = np.array([label is not None for label in labels], dtype=bool)
    on_train, on_test = np.flatnonzero(known & train), np.flatnonzero(known & ~train)
    probes: list[StratumProbe] = []
    scores: dict[tuple[str, int | None], list[ProbeScore]] = {key: [] for key in fits}
    smaller = len(on_test)
    for stratum in sorted({label for label in labels if label is not None}):
        task = _Task(stratum, on_train, on_test, np.array([label == stratum for label in labels], dtype=bool))
        reason = task.reason(settings.min_documents)
        n_positive = int(task.positive[on_test].sum())
        for (method, k), fit in fits.items():
            auroc = accuracy = Estimate(None)
            features: tuple[int, ...] = ()
            if reason is None:
                score = fit(task)
                scores[method, k].append(score)
                own = min(n_positive, len(on_test) - n_positive)
                smaller, features = min(smaller, own), score.features
                auroc, accuracy = score.estimates(own)
            counts = (len(on_train), len(on_test), n_positive)
            probes.append(StratumProbe(stratum, method, k, auroc, accuracy, features, *counts, reason))
    nothing = (Estimate(None), Estimate(None))
    means = {key: ProbeScore.mean(found).estimates(smaller) if found else nothing for key, found in scores.items()}
    reason = None if any(scores.values()) else _why(probes, name)
    return StrataProbes(name, tuple(probes), means, len(on_test), reason)


def _why(probes: Sequence[StratumProbe], name: str) -> str:
    return f"no document has a {name}" if not probes else f"no {name} has enough documents: {probes[0].reason}"


def _fitted(x: np.ndarray, task: _Task, c: float) -> ProbeScore:
    logits = _logits(x[task.train], task.positive[task.train], x[task.test], c)
    return probe_score(logits, logits > 0, task.positive[task.test])


def _majority(task: _Task) -> ProbeScore:
    y = task.positive[task.test]
    said = bool(2 * task.positive[task.train].sum() > len(task.train))
    return probe_score(np.zeros(len(y)), np.full(len(y), said), y)


def _logits(x: np.ndarray, y: np.ndarray, held_out: np.ndarray, c: float) -> np.ndarray:
    """Log-odds [n] of held-out rows by a logistic regression (L2) on columns standardised by the rows it is fitted on."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(0), x.std(0)
    scale[scale <= 1e-12 * np.abs(mean)] = np.inf  # a constant column says nothing
    regression = LogisticRegression(C=c, max_iter=1000).fit((x - mean) / scale, y)
    return np.asarray(regression.decision_function((held_out - mean) / scale), dtype=np.float64)


def _dense(x: csr_array, features: np.ndarray) -> np.ndarray:
    """[documents, k] of a few features."""
    columns: np.ndarray = x[:, features].toarray()
    return columns
