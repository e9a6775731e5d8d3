"""Trained SAEs are the same function in sae-lens, and those that sae-lens trained and saved are the same function here."""

import pytest
import torch

from ato.saes import load_sae, save_sae
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.trainer import TrainingPlan, train_saes
from tests.ato.saes.random_saes import D_IN, D_SAE, K, random_residuals
from tests.ato.saes.training.planted import LAYER, planted, source_of


@pytest.fixture(scope="module")
def trained():
    """An SAE of each way to train, after a few steps."""
    plans = [TrainingPlan(name, d_sae=32, k=3, lr=1e-2) for name in TRAINABLE]
    found = train_saes(source_of(planted(2000)[0]), LAYER, plans, n_tokens=256 * 20, batch_size=256)
    return dict(zip(TRAINABLE, found, strict=True))


@pytest.mark.parametrize("name", TRAINABLE)
def test_each_loads_in_sae_lens_and_here_and_encodes_the_same(trained, name, tmp_path):
    from sae_lens import SAE

    x, sae = torch.tensor(planted()[0][:200], dtype=torch.float32), trained[name].sae
    theirs, ours = SAE.load_from_disk(save_sae(sae, tmp_path)), load_sae(tmp_path)
    expected = sae.encode(x)
    assert 0 < float((expected > 0).sum(1).double().mean()) < 32
    torch.testing.assert_close(theirs.encode(x).detach(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs(x).detach(), sae.reconstruct(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.encode(x), expected, rtol=1e-5, atol=1e-5)
    assert ours.metadata.get("trained_as", ours.architecture) == name


@pytest.mark.parametrize("name", TRAINABLE)
def test_what_sae_lens_trained_and_saved_encodes_the_same_here(name, tmp_path):
    from sae_lens import SAE
    from sae_lens.registry import get_sae_training_class

    kind, settings = get_sae_training_class(name)
    own = {"k": K} if "topk" in name else {}
    own |= {"matryoshka_widths": [8, D_SAE]} if name.startswith("matryoshka") else {}
    training = kind(settings(d_in=D_IN, d_sae=D_SAE, **own))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part, weight in training.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if part == "threshold":
                weight.abs_()
        if name.endswith("batchtopk"):
            training.topk_threshold.fill_(2.0)
    training.save_inference_model(tmp_path)
    x, theirs, ours = random_residuals(), SAE.load_from_disk(tmp_path), load_sae(tmp_path)
    expected = theirs.encode(x).detach()
    assert 0 < float((expected > 0).sum(1).double().mean()) < D_SAE
    torch.testing.assert_close(ours.encode(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-3)  # sums of some hundreds
