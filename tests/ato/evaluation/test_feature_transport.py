"""Per-feature scores equal plain loops over features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score

from ato.errors import MismatchError
from ato.evaluation import feature_transport
from ato.evaluation.feature_scores import FeatureScores
from ato.evaluation.feature_transport import FeatureTransport
from ato.operators import TransportOperator
from ato.residuals import MemorySource, run_pass
from ato.saes import SharedEncoding, SparseAutoencoder
from tests.ato.evaluation.test_active_ceilings import Rows, plain_ceiling

SOURCE, TARGET = 2, 5
DOUBLE = torch.float64


def operator(matrix: np.ndarray, bias: np.ndarray) -> TransportOperator:
    return TransportOperator(matrix, bias, "linear", SOURCE, TARGET)


def identity(d: int) -> TransportOperator:
    return TransportOperator(np.eye(d), np.zeros(d), "identity", SOURCE, TARGET)


class Case:
    """Random residuals far from 0, a jumprelu SAE and two operators."""

    def __init__(self, n: int = 500, d: int = 10, d_sae: int = 25, n_documents: int = 12, seed: int = 0):
        rng = np.random.default_rng(seed)
        mean = rng.normal(size=d) * 20
        self.x = (rng.normal(size=(n, d)) + mean).astype(np.float32)
        map_ = rng.normal(size=(d, d)) / np.sqrt(d)
        self.y = (self.x @ map_.T + 0.3 * rng.normal(size=(n, d))).astype(np.float32)
        self.document = np.sort(rng.integers(n_documents, size=n)) + 300
        centre = self.y.mean(0)
        w_dec = rng.normal(size=(d_sae, d))
        self.sae = SparseAutoencoder(
            "jumprelu",
            *(torch.tensor(a, dtype=torch.float32) for a in (w_dec.T, np.zeros(d_sae), w_dec, centre)),
            threshold=torch.tensor(rng.uniform(0.5, 4, size=d_sae), dtype=torch.float32),
        )
        fitted = map_ + 0.05 * rng.normal(size=(d, d))
        self.operators = {
            "linear": (SOURCE, operator(fitted, centre - fitted @ self.x.mean(0))),
            "identity": (SOURCE, identity(d)),
        }

    def source(self, block_rows: int = 128, order: np.ndarray | None = None) -> MemorySource:
        rows = np.arange(len(self.x)) if order is None else order
        residuals = {SOURCE: torch.from_numpy(self.x[rows]), TARGET: torch.from_numpy(self.y[rows])}
        return MemorySource(
            residuals, document=self.document[rows], group=np.full(len(rows), 6, np.int16), block_rows=block_rows
        )

    def transport(self, dtype: torch.dtype = DOUBLE, **where) -> FeatureTransport:
        combined = {name: list(self.operators) for name in self.operators}
        scores = FeatureTransport(self.sae, TARGET, self.operators, combined=combined, dtype=dtype)
        run_pass(self.source(**where), [scores])
        return scores

    def plain(self, name: str, feature: int) -> dict[str, float]:
        """The definitions, on materialised projections of one feature's active tokens."""
        active = self.sae.encode(torch.from_numpy(self.y)).numpy()[:, feature] > 0
        u = self.sae.decoder_directions[feature].double().numpy()
        y, x = self.y[active].astype(np.float64), self.x[active].astype(np.float64)
        a, p, i = y @ u, self.operators[name][1](x) @ u, x @ u
        return {
            "n_active": active.sum(),
            "n_documents": len(set(self.document[active])),
            "activation_rate": active.mean(),
            "r2": r2_score(a, p),
            "skill": 1 - ((a - p) ** 2).sum() / ((a - i) ** 2).sum(),
            "pearson": np.corrcoef(a, p)[0, 1],
            "mse": ((a - p) ** 2).mean(),
            "calibration": (a * p).sum() / np.sqrt((a * a).sum() * (p * p).sum()),
            "rms_ratio": np.sqrt((p * p).mean() / (a * a).mean()),
            "mean_abs_ratio": np.abs(p).mean() / np.abs(a).mean(),
            "mean_ratio": p.mean() / a.mean(),
            "mad_ratio": np.abs(p - p.mean()).mean() / np.abs(a - a.mean()).mean(),
            "mean_relative_error": np.abs((p - a) / a).mean(),
            "mean_squared_log_ratio": (np.log(np.abs(p) / np.abs(a)) ** 2).mean(),
        }


def values_of(scores: FeatureScores) -> dict[str, np.ndarray]:
    """Every array of some scores by its name."""
    arrays = dict(vars(scores))
    for score in ("r2", "ceiling"):
        estimate = arrays.pop(score)
        arrays |= {score: estimate.value, f"{score}_low": estimate.low, f"{score}_high": estimate.high}
    return arrays


def assert_same(found: FeatureScores, expected: FeatureScores, atol: float = 1e-9) -> None:
    for name, values in values_of(found).items():
        if name == "verdict":
            assert (values == expected.verdict).all()
        else:
            np.testing.assert_allclose(values, values_of(expected)[name], rtol=1e-6, atol=atol)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_every_metric_equals_a_plain_loop_over_features(dtype, tolerance):
    case = Case()
    found = case.transport(dtype).result(min_active=10)
    judged = 0
    for name, columns in found.items():
        for feature in range(case.sae.d_sae):
            if columns.n_active[feature] < 10:
                continue
            judged += 1
            for metric, expected in case.plain(name, feature).items():
                # mad_ratio is of float32 values in any case
                within = max(tolerance, 1e-5) if metric == "mad_ratio" else tolerance
                assert values_of(columns)[metric][feature] == pytest.approx(expected, rel=within, abs=within), (
                    metric,
                    feature,
                )
    assert judged > 20


def test_ceilings_combine_the_source_and_the_operators_that_are_named():
    case = Case(n=1500)
    named = {"linear": ["linear", "identity"], "identity": []}
    without = FeatureTransport(case.sae, TARGET, case.operators, dtype=DOUBLE)
    run_pass(case.source(), [without])
    assert np.isnan(without.result()["linear"].ceiling.value).all()
    scores = FeatureTransport(case.sae, TARGET, case.operators, combined=named, dtype=DOUBLE)
    run_pass(case.source(), [scores])
    found = scores.result()
    active = case.sae.encode(torch.from_numpy(case.y)).numpy() > 0
    for feature in np.flatnonzero(active.sum(0) >= 200):
        u, on = case.sae.decoder_directions[feature].double().numpy(), active[:, feature]
        x, y = case.x[on].astype(np.float64), case.y[on].astype(np.float64)
        own = Rows(y @ u, [x @ u], case.document[on])
        both = Rows(y @ u, [x @ u, case.operators["linear"][1](x) @ u, x @ u], case.document[on])
        assert found["identity"].ceiling.value[feature] == pytest.approx(plain_ceiling(own), abs=1e-7)
        assert found["linear"].ceiling.value[feature] == pytest.approx(plain_ceiling(both), abs=1e-7)


def test_block_size_block_order_and_merging_change_nothing():
    case = Case()
    whole = case.transport(block_rows=10_000)
    rows = np.arange(len(case.x))
    parts = case.transport(order=rows[200:]) + case.transport(order=rows[:200])
    expected = whole.result()
    for other in (case.transport(block_rows=37), parts):
        for name, scores in other.result().items():
            assert_same(scores, expected[name])


def test_a_shared_encoding_gives_the_same_scores():
    case = Case()
    scores = FeatureTransport(case.sae, TARGET, case.operators, dtype=DOUBLE)
    run_pass(case.source(), [SharedEncoding(case.sae, TARGET, [scores])])
    expected = case.transport().result()
    for name, columns in scores.result().items():
        np.testing.assert_array_equal(columns.r2.value, expected[name].r2.value)


@pytest.fixture
def many_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_cores_that_share_the_tokens_of_a_block_change_nothing(many_threads, monkeypatch):
    expected = Case().transport(block_rows=10_000).result()
    monkeypatch.setattr(feature_transport, "_PART_PAIRS", 100)
    for _ in range(2):
        for name, scores in Case().transport(block_rows=10_000).result().items():
            assert_same(scores, expected[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_of_blocks_on_a_gpu_are_those_on_the_cpu():
    case = Case()
    expected = case.transport().result()
    scores = FeatureTransport(case.sae.to("cuda"), TARGET, case.operators, dtype=DOUBLE)
    for block in case.source().blocks():
        scores.update(replace(block, residuals={layer: x.cuda() for layer, x in block.residuals.items()}))
    for name, found in scores.result().items():
        assert_same(found, expected[name], atol=1e-8)


def test_too_few_active_tokens_give_missing_scores_and_no_verdict():
    case = Case()
    columns = case.transport().result(min_active=100)["linear"]
    few = columns.n_active < 100
    assert 0 < few.sum() < case.sae.d_sae
    counts = {"feature_id", "n_active", "n_documents", "activation_rate", "verdict"}
    for name, values in values_of(columns).items():
        if name not in counts:
            assert np.isnan(values[few]).all(), name
            assert np.isfinite(values[~few]).all(), name
    assert (columns.verdict[few] == "undetermined").all()


def test_one_document_gives_scores_but_no_interval_and_no_verdict():
    case = Case()
    case.document[:] = 7
    columns = case.transport().result()["linear"]
    assert np.isfinite(columns.r2.value).any()
    assert np.isnan([columns.r2.low, columns.r2.high]).all()
    assert set(columns.verdict) == {"undetermined"}


def test_a_feature_that_never_fires_is_missing_and_not_zero():
    case = Case()
    case.sae.threshold[4] = 1e9
    columns = case.transport().result()["linear"]
    assert columns.n_active[4] == columns.n_documents[4] == columns.activation_rate[4] == 0
    assert np.isnan(columns.r2.value[4])
    assert columns.verdict[4] == "undetermined"


def test_nothing_seen_gives_missing_scores():
    case = Case()
    columns = FeatureTransport(case.sae, TARGET, case.operators).result()["linear"]
    assert np.isnan(columns.r2.value).all()
    assert not columns.n_active.any()


def test_the_right_operator_is_transported_and_the_interval_holds_the_score():
    case = Case(n=4000)
    columns = case.transport().result()["linear"]
    low, value, high = (x[np.isfinite(columns.r2.low)] for x in (columns.r2.low, columns.r2.value, columns.r2.high))
    assert (low <= value).all()
    assert (value <= high).all()
    exact = {"linear": (TARGET, TransportOperator(np.eye(10), np.zeros(10), "linear", TARGET, TARGET))}
    scores = FeatureTransport(case.sae, TARGET, exact, dtype=DOUBLE)
    run_pass(case.source(), [scores])
    columns = scores.result()["linear"]
    enough = columns.n_active >= 30
    assert set(columns.verdict[enough]) == {"transported"}
    np.testing.assert_allclose(columns.r2.value[enough], 1)


def test_operators_are_scored_apart_on_the_same_tokens():
    results = Case().transport().result()
    assert (results["linear"].n_active == results["identity"].n_active).all()
    known = np.isfinite(results["linear"].r2.value)
    assert (results["linear"].r2.value[known] > results["identity"].r2.value[known]).all()
    np.testing.assert_allclose(results["identity"].skill[known], 0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_independent_layers_are_never_transported(seed):
    rng = np.random.default_rng(seed)
    case = Case(n=3000, n_documents=30, seed=seed)
    x = case.x[rng.permutation(len(case.x))]
    fit = np.linalg.lstsq(np.c_[x[:1500], np.ones(1500)], case.y[:1500], rcond=None)[0]
    scores = FeatureTransport(case.sae, TARGET, {"fit": (SOURCE, operator(fit[:-1].T, fit[-1]))})
    residuals = {SOURCE: torch.from_numpy(x[1500:]), TARGET: torch.from_numpy(case.y[1500:])}
    run_pass(MemorySource(residuals, document=case.document[1500:]), [scores])
    verdict = scores.result()["fit"].verdict
    assert "transported" not in verdict
    assert "computed" in verdict


def planted(n: int = 6000, seed: int = 0):
    """Half of the target's directions are source directions rotated, half are ReLU of products of two of them."""
    rng = np.random.default_rng(seed)
    half, n_documents = 8, 40
    x = rng.normal(size=(n, 2 * half))
    rotation = np.linalg.qr(rng.normal(size=(2 * half, 2 * half)))[0]
    moved = (x @ rotation)[:, :half]
    made = np.maximum(x[:, :half] * x[:, half:], 0)
    basis = np.linalg.qr(rng.normal(size=(2 * half, 2 * half)))[0]  # target features along rotated axes
    y = (np.c_[moved, made] + 0.05 * rng.normal(size=x.shape)) @ basis.T
    w = torch.tensor(basis.T, dtype=torch.float32)
    sae = SparseAutoencoder("standard", w.T.contiguous(), torch.full((2 * half,), -0.1), w, torch.zeros(2 * half))
    document = np.repeat(np.arange(n_documents), n // n_documents)
    group = np.where(document % 5 == 4, 6, document % 4).astype(np.int16)  # folds 0 to 3, and test
    residuals = {SOURCE: torch.tensor(x, dtype=torch.float32), TARGET: torch.tensor(y, dtype=torch.float32)}
    return MemorySource(residuals, document=document, group=group, n_folds=5), sae, np.arange(2 * half) < half


def rows_of(source: MemorySource, split: str) -> list[np.ndarray]:
    """[x, y] of a split, materialised."""
    blocks = list(source.blocks(splits=[split]))
    return [torch.cat([block.residuals[layer] for block in blocks]).double().numpy() for layer in (SOURCE, TARGET)]


def test_planted_features_are_told_apart_by_the_operator_and_not_by_the_identity():
    source, sae, carried = planted()
    ridge = Ridge().fit(*rows_of(source, "train"))
    fit = operator(ridge.coef_, ridge.intercept_)
    scores = FeatureTransport(sae, TARGET, {"ridge": (SOURCE, fit), "identity": (SOURCE, identity(16))})
    run_pass(source, [scores], splits=["test"])
    results = scores.result()
    assert roc_auc_score(carried, results["ridge"].r2.value) == 1
    assert set(results["ridge"].verdict[carried]) == {"transported"}
    assert set(results["ridge"].verdict[~carried]) == {"computed"}
    assert results["identity"].r2.value[carried].max() < 0.3
    assert "transported" not in results["identity"].verdict


def test_scores_of_different_saes_cannot_be_merged():
    with pytest.raises(MismatchError):
        Case().transport() + Case(seed=1).transport()
