"""Chosen features have the activations that the whole SAE gives them."""

import numpy as np
import pytest
import torch

from ato.features.neurons import MLPNeurons
from ato.saes import ARCHITECTURES, SparseAutoencoder
from ato.saes.chosen_features import ChosenFeatures

FEATURES = np.array([9, 2, 4])


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "neurons"])
def test_chosen_features_are_active_where_the_whole_sae_says_so(architecture):
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 12), (12,), (12, 5), (5,))
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    if architecture == "neurons":
        sae, x = MLPNeurons(weights[2]), torch.randn(40, 12, generator=generator)
    else:
        kind = ARCHITECTURES[architecture]
        threshold = torch.rand(12, generator=generator) if kind.has_threshold else None
        sae = SparseAutoencoder(architecture, *weights, threshold=threshold, k=3 if kind.has_k else None)
        x = torch.randn(40, 5, generator=generator)
    dense = [torch.zeros(40, 12) for _ in range(2)]
    for table, found in zip(dense, (sae.active(x), ChosenFeatures(sae, FEATURES).active(x))):
        assert (found.n, (found.token.diff() < 0).any()) == (40, False)
        table[found.token, found.feature] = found.value
    expected = torch.zeros(40, 12)
    expected[:, FEATURES] = dense[0][:, FEATURES]
    torch.testing.assert_close(dense[1], expected)
    assert expected.any()
    nothing = ChosenFeatures(sae, np.zeros(0, dtype=int)).active(x)
    assert (nothing.n, len(nothing.token)) == (40, 0)
