"""A gated SAE, folded into one encoder with thresholds, is the function of its gate and its magnitude."""

import torch
from safetensors.torch import save_file

from ato.saes import load_sae, save_sae
from tests.ato.saes.random_saes import D_IN, D_SAE, random_residuals, random_sae


def test_activations_are_magnitudes_where_the_gate_is_open(tmp_path):
    generator = torch.Generator().manual_seed(2)
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    shapes |= {name: (D_SAE,) for name in ("b_gate", "r_mag", "b_mag")}
    w = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    save_sae(random_sae("gated"), tmp_path)
    save_file(w, tmp_path / "sae_weights.safetensors")
    x = random_residuals()
    product = (x - w["b_dec"]) @ w["W_enc"]
    magnitude = (product * w["r_mag"].exp() + w["b_mag"]).relu()
    expected = torch.where(product + w["b_gate"] > 0, magnitude, 0)
    torch.testing.assert_close(load_sae(tmp_path).encode(x), expected, rtol=1e-4, atol=1e-4)


def test_the_folded_form_keeps_the_pre_activations_above_the_thresholds():
    sae, x = random_sae("gated"), random_residuals()
    pre = sae.pre_activations(x)
    assert torch.equal(sae.encode(x), torch.where(pre > sae.threshold, pre, 0).relu())
