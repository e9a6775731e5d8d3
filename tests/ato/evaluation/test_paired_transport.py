"""Two models on the same documents: differences by document, and only what was changed is found."""

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from ato.errors import MismatchError
from ato.evaluation import feature_transport
from ato.evaluation.feature_transport import FeatureTransport
from ato.evaluation.paired_transport import paired_transport
from ato.residuals import MemorySource, run_pass
from ato.saes import SparseAutoencoder
from tests.ato.evaluation.test_feature_transport import SOURCE, TARGET, operator

D, N_DOCUMENTS, CHANGED = 8, 20, 3
NAMES = ("own", "theirs", "transferred")


def basis_sae() -> SparseAutoencoder:
    """Every axis and its opposite a feature: active where the residual is above 0 along it."""
    directions = torch.cat([torch.eye(D), -torch.eye(D)])
    return SparseAutoencoder("standard", directions.T, torch.zeros(2 * D), directions, torch.zeros(D))


class TwoModels:
    """Residuals of one model, and of another in which one axis of the target is no longer carried."""

    def __init__(self, n: int = 3000, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.document = np.sort(rng.integers(N_DOCUMENTS, size=n)) + 1000
        self.x = rng.normal(size=(n, D)).astype(np.float32)
        noise = 0.3 * rng.normal(size=(n, D))
        self.y = (self.x + noise).astype(np.float32)
        self.changed = self.y.copy()
        self.changed[:, CHANGED] = rng.normal(size=n)
        self.own = operator(np.eye(D), np.zeros(D))
        fitted = np.eye(D)
        fitted[CHANGED, CHANGED] = 0
        self.theirs = operator(fitted, np.zeros(D))

    def scored(self, y: np.ndarray, **operators) -> FeatureTransport:
        source = MemorySource(
            {SOURCE: torch.from_numpy(self.x), TARGET: torch.from_numpy(y)},
            document=self.document,
            group=np.full(len(y), 6, np.int16),
            block_rows=500,
        )
        named = {name: (SOURCE, of) for name, of in operators.items()}
        transport = FeatureTransport(basis_sae(), TARGET, named, dtype=torch.float64)
        run_pass(source, [transport])
        return transport

    def passes(self) -> tuple[FeatureTransport, FeatureTransport]:
        this = self.scored(self.y, own=self.own)
        return this, self.scored(self.changed, transferred=self.own, theirs=self.theirs)


@pytest.fixture(scope="module")
def models() -> TwoModels:
    return TwoModels()


@pytest.fixture(scope="module")
def passes(models):
    return models.passes()


def test_the_planted_change_and_only_it_is_found(passes):
    found = paired_transport(*passes, operators=NAMES)
    assert found.n_features == 2 * D
    changed = np.flatnonzero(found.changed(false_discovery=0.05, smallest=0.05))
    assert changed.tolist() == [CHANGED, D + CHANGED]
    assert (found.difference.high[changed] < -0.5).all()
    others = np.setdiff1d(np.arange(2 * D), changed)
    assert np.abs(found.difference.value[others]).max() < 1e-12  # the same tokens and the same row of the map
    assert (found.loss.low[changed] > 0.5).all()  # carrying it as this model does is worse than the mean


def test_limits_are_those_of_leaving_a_document_out_of_both_models(models, passes):
    found = paired_transport(*passes, operators=NAMES)
    feature = CHANGED

    def score(y: np.ndarray, of, left_out: int | None) -> float:
        rows = (y[:, feature] > 0) & (models.document != left_out)
        a, p = y[rows, feature].astype(float), of(models.x[rows].astype(float))[:, feature]
        return 1 - np.square(a - p).sum() / np.square(a - a.mean()).sum()

    def difference(left_out: int | None = None) -> float:
        return score(models.changed, models.theirs, left_out) - score(models.y, models.own, left_out)

    numbers = np.unique(models.document)
    without = np.array([difference(number) for number in numbers])
    rows = np.array(
        [sum((y[models.document == m, feature] > 0).sum() for y in (models.y, models.changed)) for m in numbers]
    )
    n, freedom = len(numbers), rows.sum() ** 2 / np.square(rows).sum() - 1
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    reach = student.ppf(0.975, freedom) * error
    assert found.difference[feature].value == pytest.approx(difference())
    assert found.difference[feature].low == pytest.approx(difference() - reach)
    assert found.difference[feature].high == pytest.approx(difference() + reach)
    assert found.p[feature] == pytest.approx(2 * student.sf(abs(difference()) / error, freedom))


def test_the_mean_leaves_a_document_out_of_all_features(models, passes):
    found = paired_transport(*passes, operators=NAMES)
    assert found.mean_difference.value == pytest.approx(np.mean(found.difference.value))
    assert found.mean_difference.low < found.mean_difference.value < found.mean_difference.high < 0
    assert found.n_documents == N_DOCUMENTS


def test_chunks_of_features_change_nothing(models, passes, monkeypatch):
    whole = paired_transport(*passes, operators=NAMES)
    monkeypatch.setattr(feature_transport, "_CHUNK_FEATURES", 3)
    parts = paired_transport(*passes, operators=NAMES)
    np.testing.assert_allclose(parts.difference.low, whole.difference.low)
    np.testing.assert_allclose(parts.q, whole.q)
    assert parts.mean_loss.low == pytest.approx(whole.mean_loss.low)


def test_a_feature_silent_in_one_model_has_no_difference(models):
    silent = models.changed.copy()
    silent[:, 0] = -1
    this = models.scored(models.y, own=models.own)
    other = models.scored(silent, transferred=models.own, theirs=models.theirs)
    found = paired_transport(this, other, operators=NAMES)
    assert np.isnan(found.difference.value[0])
    assert np.isnan(found.q[0])
    assert not found.changed(false_discovery=1.0, smallest=0.0)[0]
    assert np.isnan(found.difference.value[D])  # constant: nothing varies that could be carried
    assert found.n_features == 2 * D - 2


def test_a_model_is_not_different_from_itself(models):
    this = models.scored(models.y, own=models.own, theirs=models.own, transferred=models.own)
    found = paired_transport(this, this, operators=NAMES)
    assert (found.difference.value == 0).all()
    assert (found.difference.low == 0).all()
    assert not found.changed(false_discovery=0.05, smallest=0.0).any()


def test_other_saes_and_operators_that_were_not_scored_are_refused(models, passes):
    this, other = passes
    with pytest.raises(MismatchError, match="no operator 'theirs' was scored"):
        paired_transport(this, other, operators=("theirs", "theirs", "transferred"))
    half = SparseAutoencoder("standard", 0.5 * torch.eye(D), torch.zeros(D), torch.eye(D), torch.zeros(D))
    stranger = FeatureTransport(half, TARGET, {"own": (SOURCE, models.own)})
    with pytest.raises(MismatchError, match="the same SAE"):
        paired_transport(stranger, other, operators=NAMES)
