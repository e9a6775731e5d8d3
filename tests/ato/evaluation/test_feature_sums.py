"""Sums over active tokens, added part by part, against plain sums."""

import numpy as np
import pytest
import torch

from ato.evaluation.active_projections import Projections
from ato.evaluation.feature_sums import FeatureSums, sums_of_tokens
from ato.saes import ActiveFeatures

D_SAE, N_TOKENS, N_ACTIVE = 4, 12, 60


def part(seed: int) -> tuple[Projections, ActiveFeatures, torch.Tensor]:
    """Active pairs of twelve tokens in three groups of documents: two operators, one source."""
    draw = torch.Generator().manual_seed(seed)
    token = torch.randint(N_TOKENS, (N_ACTIVE,), generator=draw).sort().values
    feature = torch.randint(D_SAE, (N_ACTIVE,), generator=draw)
    stacked = torch.randn(3, N_ACTIVE, generator=draw, dtype=torch.float64)
    kept = torch.randn(1, N_ACTIVE, generator=draw, dtype=torch.float64)
    active = ActiveFeatures(N_TOKENS, token, feature, torch.ones(N_ACTIVE))
    return Projections(stacked[0], kept, stacked[1:], stacked), active, torch.arange(N_TOKENS) % 3


def of_feature(values: torch.Tensor, feature: torch.Tensor) -> np.ndarray:
    return np.bincount(feature.numpy(), values.numpy(), minlength=D_SAE)


def test_sums_over_all_groups_are_those_of_every_active_pair():
    found, active, group = part(0)
    shift = torch.linspace(-1, 1, D_SAE, dtype=torch.float64)
    sums = sums_of_tokens(found, active, group, 3, shift).totals()
    a, offset = found.true, shift[active.feature]
    np.testing.assert_allclose(sums.by_group.n, of_feature(torch.ones_like(a), active.feature))
    np.testing.assert_allclose(sums.by_group.aa, of_feature(a * a, active.feature))
    np.testing.assert_allclose(sums.over_all.abs_a, of_feature((a + offset).abs(), active.feature))
    np.testing.assert_allclose(sums.over_all.identity_sse[0], of_feature((found.kept[0] - a) ** 2, active.feature))
    for row, p in enumerate(found.predicted):
        relative = (p - a).abs() / (a + offset).abs()
        log = ((p + offset).abs() / (a + offset).abs()).log() ** 2
        np.testing.assert_allclose(sums.by_group.sse[row], of_feature((p - a) ** 2, active.feature))
        np.testing.assert_allclose(sums.over_all.ap[row], of_feature(p * a, active.feature))
        np.testing.assert_allclose(sums.over_all.relative[row], of_feature(relative, active.feature))
        np.testing.assert_allclose(sums.over_all.log[row], of_feature(log, active.feature))


@pytest.mark.parametrize("numbers", [[0, 1, 2], [4, 0, 2]])
def test_a_part_is_added_to_the_groups_that_it_names(numbers):
    found, active, group = part(1)
    own = sums_of_tokens(found, active, group, 3, torch.zeros(D_SAE, dtype=torch.float64))
    whole = FeatureSums.zeros(5, n_operators=2, n_sources=1, d_sae=D_SAE, device=torch.device("cpu"))
    for _ in range(2):
        whole.add(own, torch.tensor(numbers))
    torch.testing.assert_close(whole.by_group.a[numbers], 2 * own.by_group.a)
    torch.testing.assert_close(whole.by_group.sse[:, numbers], 2 * own.by_group.sse)
    torch.testing.assert_close(whole.over_all.pp, 2 * own.over_all.pp)
    assert not whole.by_group.n[[g for g in range(5) if g not in numbers]].any()
