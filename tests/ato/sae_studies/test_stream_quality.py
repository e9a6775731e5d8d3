"""Quality over a stream: the dense two-pass computation is the oracle; batches, padding and merging change nothing."""

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from ato.errors import MismatchError
from ato.models import load_model
from ato.numerics.intervals import Estimate
from ato.residuals import MemorySource, run_pass
from ato.residuals.live import LiveSource
from ato.sae_studies.densities import DENSITY_EDGES
from ato.sae_studies.stream_quality import StreamQuality
from ato.saes import SharedEncoding, SparseAutoencoder
from ato.saes.quality import SAEQuality
from ato.text import TokenSequence
from tests.tiny_models import save_tiny_model

LAYER, D, D_SAE = 1, 8, 40


def sae_of(d: int = D, d_sae: int = D_SAE, seed: int = 0, shrink: float = 1.0) -> SparseAutoencoder:
    """ReLU features with unequal thresholds, so that some fire often, some seldom and some never."""
    rng = np.random.default_rng(seed)
    w = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(d_sae, d)), dtype=torch.float32), dim=1)
    bias = -torch.linspace(0.5, 4.5, d_sae)
    return SparseAutoencoder("standard", w.T.contiguous() * shrink, bias * shrink, w, torch.zeros(d))


def source(n: int = 900, seed: int = 0, n_documents: int = 12, mean: float = 0.0, **options) -> MemorySource:
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(n, D)) + mean, dtype=torch.float32)
    return MemorySource({LAYER: x}, document=np.sort(rng.integers(n_documents, size=n)), **options)


def judged(sae: SparseAutoencoder, data, layer: int = LAYER, **options) -> StreamQuality:
    quality = StreamQuality(sae, layer, **options)
    run_pass(data, [SharedEncoding(sae, layer, [quality])])
    return quality


def dense(sae: SparseAutoencoder, data: MemorySource) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, activations and x_hat of all tokens."""
    x = torch.cat([block.residuals[LAYER] for block in data.blocks()])
    activations = sae.encode(x)
    return tuple(part.double().numpy() for part in (x, activations, sae.decode(activations)))


def test_every_number_equals_the_dense_computation():
    sae, data = sae_of(), source()
    x, activations, x_hat = dense(sae, data)
    found = judged(sae, data).result()
    rates = (activations > 0).mean(0)
    assert found.fvu.value == pytest.approx(((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum(), rel=1e-6)
    assert found.explained_variance.value == pytest.approx(1 - found.fvu.value)
    assert found.l0.value == pytest.approx((activations > 0).sum(1).mean())
    assert found.dead_share.value == pytest.approx((rates == 0).mean())
    assert 0 < found.dead_share.value < 1
    assert found.high_frequency_share.value == pytest.approx((rates > 0.1).mean())
    assert 0 < found.high_frequency_share.value < 1
    expected, _ = np.histogram(np.log10(rates[rates > 0]), np.append(DENSITY_EDGES[:-1], 1e-9))
    np.testing.assert_array_equal(found.densities.count.value, expected)
    assert found.densities.never.value == (rates == 0).sum()
    assert found.densities.count.value.sum() + found.densities.never.value == sae.d_sae
    np.testing.assert_allclose(judged(sae, data).rates(), rates)
    np.testing.assert_array_equal(judged(sae, data).alive(), rates > 0)


def test_shrinkage_is_the_slope_of_scikit_learn_on_centred_tokens_and_undoes_a_planted_factor():
    sae, data = sae_of(), source(mean=3.0)
    x, _, x_hat = dense(sae, data)
    columns = [(part - part.mean(0)).reshape(-1, 1) for part in (x_hat, x)]
    slope = LinearRegression(fit_intercept=False).fit(*columns).coef_.item()
    found = judged(sae, data).result().shrinkage
    assert found.value == pytest.approx(slope, rel=1e-6)
    # activations of four fifths: the slope that undoes it is a quarter larger
    assert judged(sae_of(shrink=0.8), data).result().shrinkage.value == pytest.approx(slope / 0.8, rel=1e-5)


def test_an_exact_sae_has_no_shrinkage_and_one_that_halves_needs_a_slope_of_two():
    signs = torch.cat([torch.eye(D), -torch.eye(D)])
    for factor in (1.0, 0.5):
        sae = SparseAutoencoder("standard", signs.T.contiguous() * factor, torch.zeros(2 * D), signs, torch.zeros(D))
        assert judged(sae, source(mean=50.0)).result().shrinkage.value == pytest.approx(1 / factor, rel=1e-5)


def test_fvu_is_that_of_the_judge_of_trained_saes():
    sae, data = sae_of(), source()
    plain = SAEQuality(sae, LAYER)
    run_pass(data, [plain])
    found, expected = judged(sae, data).result(), plain.result()
    assert found.fvu == expected.fvu
    assert (found.l0.value, found.dead_share.value) == pytest.approx((expected.l0, expected.dead_share))
    assert (found.n_tokens, found.n_documents) == (expected.n_tokens, expected.n_documents)


def test_intervals_hold_their_values_and_are_narrower_with_more_documents():
    few, many = (judged(sae_of(), source(n, n_documents=n // 75)).result() for n in (900, 14400))
    for metric, more in zip(few.metrics(), many.metrics(), strict=True):
        assert metric.estimate.low <= metric.estimate.value <= metric.estimate.high, metric.name
        assert more.n_documents > metric.n_documents
        if metric.name in ("fvu", "l0", "shrinkage"):
            widths = [of.estimate.high - of.estimate.low for of in (metric, more)]
            assert widths[1] < widths[0] / 2
    count = few.densities.count
    assert (count.low <= count.value).all()
    assert (count.value <= count.high).all()


def test_the_interval_of_the_dead_share_is_the_jackknife_by_hand():
    # five documents of one token; feature i fires in document i only, feature 5 in none
    eye = torch.cat([torch.eye(5), torch.zeros(1, 5)])
    sae = SparseAutoencoder("standard", eye.T.contiguous(), torch.zeros(6), eye, torch.zeros(5))
    data = MemorySource({LAYER: torch.eye(5)}, document=np.arange(5))
    found = judged(sae, data).result()
    assert found.dead_share.value == pytest.approx(1 / 6)
    # without any document two of six are dead: all five equal, so nothing is said of the error
    assert (found.dead_share.low, found.dead_share.high) == pytest.approx((1 / 6, 1 / 6))
    assert found.high_frequency_share.value == pytest.approx(5 / 6)
    assert found.densities.never.value == 1


def test_block_size_and_merging_change_nothing():
    sae, whole = sae_of(), judged(sae_of(), source(block_rows=1000)).result()
    halves = StreamQuality(sae, LAYER), StreamQuality(sae, LAYER)
    for i, block in enumerate(source(block_rows=55).blocks()):
        halves[i % 2].update(block)
    merged = (halves[1] + halves[0]).result()
    for one, other in zip(merged.metrics(), whole.metrics(), strict=True):
        assert replace(one, estimate=other.estimate) == other
        assert astuple(one.estimate) == pytest.approx(astuple(other.estimate), rel=1e-6)
    np.testing.assert_array_equal(merged.densities.count.value, whole.densities.count.value)
    for other in (StreamQuality(sae_of(seed=1), LAYER), StreamQuality(sae, LAYER, high_frequency=0.5)):
        with pytest.raises(MismatchError):
            halves[0] + other


def test_batch_size_and_padding_change_nothing(tmp_path):
    model = load_model(save_tiny_model(tmp_path, n_layers=2), device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    sequences = [
        TokenSequence(i, f"{i:016x}", i, "test", None, 0, rng.integers(3, 200, n).astype(np.int32), "")
        for i, n in enumerate([40, 9, 21, 33, 5, 28, 17])
    ]
    sae = sae_of(model.d_model)
    alone, together = (
        judged(sae, LiveSource(model, sequences, [LAYER], n_folds=2, batch_size=size)).result() for size in (1, 7)
    )
    for one, other in zip(alone.metrics(), together.metrics(), strict=True):
        assert astuple(one.estimate) == pytest.approx(astuple(other.estimate), rel=1e-4, abs=1e-6), one.name
        assert (one.n, one.n_documents) == (other.n, other.n_documents)


def test_no_token_constant_tokens_and_silent_features_give_missing_values_with_reasons():
    nothing = StreamQuality(sae_of(), LAYER).result()
    assert {metric.estimate for metric in nothing.metrics()} == {Estimate(None)}
    assert {metric.reason for metric in nothing.metrics()} == {"no token was judged"}
    assert np.isnan(nothing.densities.count.value).all()
    constant = MemorySource({LAYER: torch.full((60, D), 0.7)}, document=np.arange(60) // 10)
    reasons = {metric.name: metric.reason for metric in judged(sae_of(), constant).result().metrics()}
    assert reasons["fvu"] == reasons["explained_variance"] == "the residuals do not vary"
    assert reasons["shrinkage"] == "the reconstruction is the same on every token"
    assert reasons["l0"] is None
    silent = replace(sae_of(), b_enc=torch.full((D_SAE,), -99.0))
    found = judged(silent, source()).result()
    assert (found.dead_share.value, found.l0.value, found.densities.never.value) == (1, 0, D_SAE)
    assert found.shrinkage.value is None
    alone = judged(sae_of(), source(n_documents=1)).result()
    assert alone.fvu.value is not None
    assert alone.fvu.low is alone.dead_share.low is alone.l0.low is None
