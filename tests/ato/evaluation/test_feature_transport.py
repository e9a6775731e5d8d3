"""Per-feature scores equal plain loops over features; verdicts follow from intervals, never from points."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score

from ato.errors import MismatchError, SettingsError
from ato.evaluation import feature_transport
from ato.evaluation.feature_moments import feature_ceiling, feature_scores_from_moments
from ato.evaluation.feature_transport import FeatureTransport
from ato.evaluation.verdicts import verdicts
from ato.moments import Moments
from ato.operators import TransportOperator
from ato.residuals import MemorySource, run_pass
from ato.saes import SharedEncoding, SparseAutoencoder

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
        scores = FeatureTransport(self.sae, TARGET, self.operators, dtype=dtype)
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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_every_metric_equals_a_plain_loop_over_features(dtype, tolerance):
    case = Case()
    found = case.transport(dtype).result(n_boot=40, min_active=10)
    judged = 0
    for name, columns in found.items():
        for feature in range(case.sae.d_sae):
            if columns["n_active"][feature] < 10:
                continue
            judged += 1
            for metric, expected in case.plain(name, feature).items():
                # mad_ratio is of float32 values in any case
                within = max(tolerance, 1e-5) if metric == "mad_ratio" else tolerance
                assert columns[metric][feature] == pytest.approx(expected, rel=within, abs=within), (metric, feature)
    assert judged > 20


def test_block_size_block_order_and_merging_change_nothing():
    case = Case()
    whole = case.transport(block_rows=10_000)
    rows = np.arange(len(case.x))
    parts = case.transport(order=rows[200:]) + case.transport(order=rows[:200])
    expected = whole.result(n_boot=50)
    for other in (case.transport(block_rows=37), parts):
        for name, columns in other.result(n_boot=50).items():
            for column, values in columns.items():
                if values.dtype.kind == "U":
                    assert (values == expected[name][column]).all()
                else:
                    np.testing.assert_allclose(values, expected[name][column], rtol=1e-6, atol=1e-9)


def test_a_shared_encoding_gives_the_same_scores():
    case = Case()
    scores = FeatureTransport(case.sae, TARGET, case.operators, dtype=DOUBLE)
    run_pass(case.source(), [SharedEncoding(case.sae, TARGET, [scores])])
    expected = case.transport().result(n_boot=40)
    for name, columns in scores.result(n_boot=40).items():
        np.testing.assert_array_equal(columns["r2"], expected[name]["r2"])


@pytest.fixture
def many_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_cores_that_share_the_tokens_of_a_block_change_nothing(many_threads, monkeypatch):
    expected = Case().transport(block_rows=10_000).result(n_boot=50)
    monkeypatch.setattr(feature_transport, "_PART_PAIRS", 100)
    for _ in range(2):
        for name, columns in Case().transport(block_rows=10_000).result(n_boot=50).items():
            for column in set(columns) - {"verdict"}:
                np.testing.assert_allclose(columns[column], expected[name][column], rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_of_blocks_on_a_gpu_are_those_on_the_cpu():
    case = Case()
    expected = case.transport().result(n_boot=50)
    scores = FeatureTransport(case.sae.to("cuda"), TARGET, case.operators, dtype=DOUBLE)
    for block in case.source().blocks():
        scores.update(replace(block, residuals={layer: x.cuda() for layer, x in block.residuals.items()}))
    for name, columns in scores.result(n_boot=50).items():
        for column in set(columns) - {"verdict"}:
            np.testing.assert_allclose(columns[column], expected[name][column], rtol=1e-6, atol=1e-8)


def test_too_few_active_tokens_give_missing_scores_and_no_verdict():
    case = Case()
    columns = case.transport().result(n_boot=50, min_active=100)["linear"]
    few = columns["n_active"] < 100
    assert 0 < few.sum() < case.sae.d_sae
    counts = {"feature_id", "n_active", "n_documents", "activation_rate", "verdict"}
    for name in set(columns) - counts:
        assert np.isnan(columns[name][few]).all(), name
        assert np.isfinite(columns[name][~few]).all(), name
    assert (columns["verdict"][few] == "undetermined").all()


def test_one_document_gives_scores_but_no_interval_and_no_verdict():
    case = Case()
    case.document[:] = 7
    columns = case.transport().result(n_boot=50)["linear"]
    assert np.isfinite(columns["r2"]).any()
    assert np.isnan(columns["r2_low"]).all()
    assert np.isnan(columns["r2_high"]).all()
    assert set(columns["verdict"]) == {"undetermined"}


def test_a_feature_that_never_fires_is_missing_and_not_zero():
    case = Case()
    case.sae.threshold[4] = 1e9
    columns = case.transport().result(n_boot=50)["linear"]
    assert columns["n_active"][4] == columns["n_documents"][4] == columns["activation_rate"][4] == 0
    assert np.isnan(columns["r2"][4])
    assert columns["verdict"][4] == "undetermined"


def test_nothing_seen_gives_missing_scores():
    case = Case()
    columns = FeatureTransport(case.sae, TARGET, case.operators).result(n_boot=50)["linear"]
    assert np.isnan(columns["r2"]).all()
    assert not columns["n_active"].any()


def test_the_right_operator_is_transported_and_the_interval_holds_the_score():
    case = Case(n=4000)
    columns = case.transport().result()["linear"]
    known = np.isfinite(columns["r2_low"])
    assert (columns["r2_low"][known] <= columns["r2"][known]).all()
    assert (columns["r2"][known] <= columns["r2_high"][known]).all()
    exact = {"linear": (TARGET, TransportOperator(np.eye(10), np.zeros(10), "linear", TARGET, TARGET))}
    scores = FeatureTransport(case.sae, TARGET, exact, dtype=DOUBLE)
    run_pass(case.source(), [scores])
    columns = scores.result()["linear"]
    enough = columns["n_active"] >= 30
    assert set(columns["verdict"][enough]) == {"transported"}
    np.testing.assert_allclose(columns["r2"][enough], 1)


def test_operators_are_scored_apart_on_the_same_tokens():
    columns = Case().transport().result(n_boot=50)
    assert (columns["linear"]["n_active"] == columns["identity"]["n_active"]).all()
    known = np.isfinite(columns["linear"]["r2"])
    assert (columns["linear"]["r2"][known] > columns["identity"]["r2"][known]).all()
    np.testing.assert_allclose(columns["identity"]["skill"][known], 0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_independent_layers_are_never_transported(seed):
    rng = np.random.default_rng(seed)
    case = Case(n=3000, n_documents=30, seed=seed)
    x = case.x[rng.permutation(len(case.x))]
    fit = np.linalg.lstsq(np.c_[x[:1500], np.ones(1500)], case.y[:1500], rcond=None)[0]
    scores = FeatureTransport(case.sae, TARGET, {"fit": (SOURCE, operator(fit[:-1].T, fit[-1]))})
    residuals = {SOURCE: torch.from_numpy(x[1500:]), TARGET: torch.from_numpy(case.y[1500:])}
    run_pass(MemorySource(residuals, document=case.document[1500:]), [scores])
    verdict = scores.result()["fit"]["verdict"]
    assert "transported" not in verdict
    assert "synthesised" in verdict


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
    columns = scores.result()
    assert roc_auc_score(carried, columns["ridge"]["r2"]) == 1
    assert set(columns["ridge"]["verdict"][carried]) == {"transported"}
    assert set(columns["ridge"]["verdict"][~carried]) == {"synthesised"}
    assert columns["identity"]["r2"][carried].max() < 0.3
    assert "transported" not in columns["identity"]["verdict"]


def test_r2_over_all_tokens_from_moments_equals_the_projections():
    source, sae, _ = planted(n=2000)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(source, [moments])
    rng = np.random.default_rng(0)
    other = operator(rng.normal(size=(16, 16)) / 4, rng.normal(size=16))
    directions = sae.decoder_directions.double().numpy()
    x, y = rows_of(source, "test")
    expected = r2_score(y @ directions.T, other(x) @ directions.T, multioutput="raw_values")
    found = feature_scores_from_moments(other, moments, SOURCE, TARGET, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_feature_ceiling_is_the_held_out_squared_correlation_of_least_squares():
    source, sae, carried = planted(n=2000)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(source, [moments])
    directions = sae.decoder_directions.double().numpy()
    train, test = rows_of(source, "train"), rows_of(source, "test")
    fit = np.linalg.lstsq(np.c_[train[0], np.ones(len(train[0]))], train[1] @ directions.T, rcond=None)[0]
    predicted = np.c_[test[0], np.ones(len(test[0]))] @ fit
    expected = [max(np.corrcoef(p, a)[0, 1], 0) ** 2 for p, a in zip(predicted.T, (test[1] @ directions.T).T)]
    found = feature_ceiling(moments, SOURCE, TARGET, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert found[carried].min() > 0.9
    assert np.isnan(feature_ceiling(moments, SOURCE, TARGET, np.zeros((1, 16)))).all()


def test_the_feature_ceiling_of_independent_layers_is_near_zero():
    rng = np.random.default_rng(3)
    d, n = 40, 400
    residuals = {layer: torch.tensor(rng.normal(size=(n, d)), dtype=torch.float32) for layer in (SOURCE, TARGET)}
    group = np.where(np.arange(n) % 2, 6, np.arange(n) // 2 % 5).astype(np.int16)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(MemorySource(residuals, group=group), [moments])
    ceiling = feature_ceiling(moments, SOURCE, TARGET, np.eye(d))
    assert ceiling.mean() < 0.01  # in-sample it would be d / n_train = 0.2


def test_verdicts_come_from_intervals():
    low, high = np.array([0.7, 0.6, 0.0, 0.0, np.nan, 0.9]), np.array([0.9, 0.99, 0.3, 0.31, np.nan, np.nan])
    expected = ["transported", "undetermined", "synthesised", "undetermined", "undetermined", "undetermined"]
    assert verdicts(low, high).tolist() == expected
    assert verdicts(low, high, transported_above=0.95, synthesised_below=-1).tolist() == ["undetermined"] * 6
    with pytest.raises(SettingsError, match="not in order"):
        verdicts(low, high, transported_above=0.2)


def test_scores_of_different_saes_cannot_be_merged():
    with pytest.raises(MismatchError):
        Case().transport() + Case(seed=1).transport()
