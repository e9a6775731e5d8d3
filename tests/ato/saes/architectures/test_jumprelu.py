"""JumpReLU keeps the pre-activations above the threshold of their feature."""

import torch

from ato.saes import SparseAutoencoder
from tests.ato.saes.random_saes import D_SAE, random_residuals, random_sae


def test_activations_are_the_pre_activations_above_the_thresholds():
    sae, x = random_sae("jumprelu"), random_residuals()
    sae.threshold[::3] *= -1  # a negative threshold lets no negative activation through
    expected = torch.zeros(len(x), D_SAE)
    for row, pre in enumerate(sae.pre_activations(x)):
        for feature in range(D_SAE):
            if pre[feature] > sae.threshold[feature]:
                expected[row, feature] = max(pre[feature], 0)
    assert torch.equal(sae.encode(x), expected)


def test_an_activation_at_its_threshold_is_not_active():
    eye = torch.eye(2)
    sae = SparseAutoencoder("jumprelu", eye, torch.zeros(2), eye, torch.zeros(2), threshold=torch.tensor([1.0, 0.5]))
    assert sae.encode(torch.tensor([[1.0, 1.0], [2.0, -3.0]])).tolist() == [[0.0, 1.0], [2.0, 0.0]]
