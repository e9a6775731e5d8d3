"""One factor on all thresholds gives the wanted mean L0, and changes nothing else."""

import numpy as np
import pytest
import torch

from ato.saes import SparseAutoencoder
from ato.saes.training.calibration import with_mean_l0


def make(thresholds: torch.Tensor) -> SparseAutoencoder:
    rng = np.random.default_rng(0)
    n = len(thresholds)
    weights = [torch.tensor(rng.normal(size=s), dtype=torch.float32) for s in ((8, n), n, (n, 8), 8)]
    return SparseAutoencoder("jumprelu", *weights, threshold=thresholds)


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).normal(size=(1000, 8)), dtype=torch.float32)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("start", [0.01, 1.0, 50.0])
def test_k_features_are_active_in_the_mean_wherever_thresholds_began(rows, k, start):
    sae = make(start * torch.linspace(0.5, 2, 24))
    found = with_mean_l0(sae, rows, k)
    assert (found.encode(rows) > 0).sum() == k * len(rows)
    ratio = found.threshold / sae.threshold
    torch.testing.assert_close(ratio, ratio.mean().expand(24))
    assert found.metadata["threshold_factor"] == pytest.approx(float(ratio[0]))
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        assert torch.equal(getattr(found, name), getattr(sae, name))


def test_the_factor_is_that_of_a_full_sort(rows):
    sae = make(torch.linspace(0.5, 2, 24))
    pre = sae.pre_activations(rows)
    ratio = (pre / sae.threshold)[pre > 0].sort(descending=True).values
    expected = float(ratio[2 * len(rows) - 1] + ratio[2 * len(rows)]) / 2
    assert with_mean_l0(sae, rows, 2).metadata["threshold_factor"] == pytest.approx(expected, rel=1e-6)


def test_features_without_a_threshold_stay_and_where_too_few_are_positive_all_of_them_are_active(rows):
    thresholds = torch.ones(24)
    thresholds[0] = 0
    sae = make(thresholds)
    found = with_mean_l0(sae, rows, 5)
    assert torch.equal(found.encode(rows)[:, 0], sae.encode(rows)[:, 0])
    assert (found.encode(rows) > 0).sum() == 5 * len(rows)
    everything = with_mean_l0(sae, rows, 24)
    assert torch.equal(everything.encode(rows) > 0, everything.pre_activations(rows) > 0)
