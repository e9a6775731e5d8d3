"""Innovation SAEs against plain ones: brute force over all tokens at once, SciPy, and what equal sides must give."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics.pairwise import cosine_similarity

from ato.numerics.intervals import Estimate
from ato.operators import TransportOperator
from ato.residuals import MemorySource, run_pass
from ato.sae_studies.innovation import InnovationSAE, without_features
from ato.sae_studies.innovation_comparison import PairedErrors, compared_losses, compared_redundancy
from ato.saes.edited_losses import SpliceLosses
from ato.saes.loss_recovered import ce_recovered
from tests.ato.saes.random_saes import D_IN, random_sae

SOURCE, TARGET = 1, 3


def coders_of() -> dict[str, object]:
    rng = np.random.default_rng(2)
    operator = TransportOperator(0.3 * rng.normal(size=(D_IN, D_IN)), rng.normal(size=D_IN), "ridge", SOURCE, TARGET)
    own = InnovationSAE(operator, random_sae("topk", k=3))
    return {"own": own, "plain": random_sae("topk", k=6), "again": own, "linear": without_features(operator)}


def residuals_of(n: int = 600) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {layer: 2 * torch.randn(n, D_IN, generator=generator) + 5 for layer in (SOURCE, TARGET)}


def compared(residuals: dict[int, torch.Tensor], block_rows: int = 128) -> PairedErrors:
    n = len(residuals[SOURCE])
    source = MemorySource(residuals, document=np.arange(n) // 40, block_rows=block_rows)
    errors = PairedErrors(coders_of(), TARGET)
    run_pass(source, [errors])
    return errors


def test_errors_are_those_of_all_tokens_at_once_whatever_the_blocks_and_equal_coders_do_not_differ():
    residuals, coders = residuals_of(), coders_of()
    x, y = residuals[SOURCE], residuals[TARGET]
    rebuilt = {"own": coders["own"].reconstruct(x, y), "plain": coders["plain"].reconstruct(y)}
    rebuilt["linear"] = coders["own"].operator(x)
    variance = (y - y.mean(0)).double().square().sum()
    fvu = {name: float((y - y_hat).double().square().sum() / variance) for name, y_hat in rebuilt.items()}
    errors = compared(residuals)
    found = errors.fvu("own", "plain", "linear")
    assert found.innovation.value == pytest.approx(fvu["own"], rel=1e-5)
    assert found.plain.value == pytest.approx(fvu["plain"], rel=1e-5)
    assert found.baseline.value == pytest.approx(fvu["linear"], rel=1e-5)
    assert found.difference.value == pytest.approx(fvu["own"] - fvu["plain"], rel=1e-4)
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.n == 15
    assert errors.l0("own") == pytest.approx(3, abs=0.01)
    assert errors.l0("plain") == pytest.approx(6, abs=0.1)
    other = compared(residuals, block_rows=601).fvu("own", "plain", "linear")
    assert astuple(other.difference) == pytest.approx(astuple(found.difference), rel=1e-6)
    assert astuple(errors.fvu("own", "again", "linear").difference) == (0, 0, 0)


def test_paired_intervals_are_narrower_than_those_of_one_side_where_documents_differ():
    residuals = residuals_of()
    hard = 1 + (torch.arange(600) // 40 % 5)[:, None]  # some documents vary more than others
    found = compared({layer: x * hard for layer, x in residuals.items()}).fvu("own", "plain", "linear")
    assert found.difference.high - found.difference.low < found.innovation.high - found.innovation.low


def test_constant_residuals_have_no_fvu():
    found = compared({layer: torch.ones(100, D_IN) for layer in (SOURCE, TARGET)}).fvu("own", "plain", "linear")
    assert found.innovation == found.difference == Estimate(None)


def losses_of(**more: object) -> SpliceLosses:
    rng = np.random.default_rng(4)
    n = rng.integers(10, 40, 12)
    clean = 2.0 * n + rng.normal(size=12)
    spliced = {name: clean + n * rng.uniform(0.1, 1, 12) for name in ("own", "plain", "linear")}
    kl = {name: n * rng.uniform(0.1, 1, 12) for name in spliced}
    known = {
        "clean": clean,
        "spliced": spliced,
        "zero": {TARGET: clean + 3 * n},
        "kl": kl,
        "kl_zero": {TARGET: 4.0 * n},
    }
    layer = dict.fromkeys(spliced, TARGET)
    return SpliceLosses(np.arange(12), np.arange(12) // 2, n, layer=layer, **known | more)


def test_losses_are_those_of_each_side_alone_and_their_difference_is_paired():
    losses = losses_of()
    found = compared_losses(losses, "own", "plain", "linear")
    sides = {"innovation": "own", "plain": "plain", "baseline": "linear"}
    for side, name in sides.items():
        alone = ce_recovered(losses, name)
        for metric in ("ce_recovered", "kl"):
            assert astuple(getattr(found[metric], side)) == pytest.approx(astuple(getattr(alone, metric)), rel=1e-9)
    for of in found.values():
        assert of.difference.value == pytest.approx(of.innovation.value - of.plain.value, rel=1e-9)
        assert of.n == 6
    same = compared_losses(losses, "own", "own", "linear")
    assert all(astuple(of.difference) == (0, 0, 0) for of in same.values())


def test_where_zero_does_not_raise_the_loss_nothing_is_recovered():
    clean = losses_of().clean
    found = compared_losses(losses_of(zero={TARGET: clean}), "own", "plain", "linear")
    assert found["ce_recovered"].innovation.value is None
    assert found["ce_recovered"].difference.value is None
    assert found["kl"].difference.value is not None


def test_redundancy_is_the_mean_largest_cosine_with_welchs_interval():
    rng = np.random.default_rng(5)
    sides = [tuple(torch.from_numpy(rng.normal(size=(m, 9))).float() for m in sizes) for sizes in ((30, 40), (50, 20))]
    found = compared_redundancy(*sides)
    own, plain = (cosine_similarity(upper, lower).max(1) for lower, upper in sides)
    assert found.innovation.value == pytest.approx(own.mean(), rel=1e-5)
    assert found.plain.value == pytest.approx(plain.mean(), rel=1e-5)
    interval = stats.ttest_ind(own, plain, equal_var=False).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval), rel=1e-4)
    assert abs(found.baseline.value - found.innovation.value) < 0.1  # both are random
    assert found.n == 40
    copied = compared_redundancy((sides[0][0], sides[0][0][:5]), sides[1])
    assert astuple(copied.innovation) == pytest.approx((1, 1, 1), abs=1e-5)  # every row has its duplicate
    assert astuple(compared_redundancy(*sides).baseline) == astuple(found.baseline)


def test_without_living_features_there_is_no_redundancy():
    some, none = torch.eye(4), torch.zeros(0, 4)
    found = compared_redundancy((some, none), (some, torch.zeros(3, 4)))
    assert found.innovation == found.plain == found.difference == Estimate(None)
    assert found.n == 0
    one = compared_redundancy((some, some[:1]), (some, some))
    assert (one.innovation, one.difference.value) == (Estimate(1.0), 0.0)
