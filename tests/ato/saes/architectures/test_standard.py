"""A standard SAE is a linear layer and a ReLU."""

import torch

from tests.ato.saes.random_saes import random_residuals, random_sae


def test_activations_are_the_positive_pre_activations():
    x = random_residuals()
    for apply_b_dec_to_input in (True, False):
        sae = random_sae("standard", apply_b_dec_to_input=apply_b_dec_to_input)
        pre = torch.addmm(sae.b_enc, x - sae.b_dec if apply_b_dec_to_input else x, sae.W_enc)
        assert torch.equal(sae.encode(x), torch.where(pre > 0, pre, 0))
