"""TopK keeps the k largest positive pre-activations of each token."""

import json

import pytest
import torch

from ato.saes import load_sae, save_sae
from ato.saes.pretrained import from_sae_lens
from tests.ato.saes.random_saes import D_SAE, K, lens_sae, random_residuals, random_sae


@pytest.fixture
def x() -> torch.Tensor:
    return random_residuals()


@pytest.mark.parametrize("k", [1, K, D_SAE])
def test_activations_are_the_largest_pre_activations_of_each_token(x, k):
    sae = random_sae("topk", k=k)
    expected = torch.zeros(len(x), D_SAE)
    for row, pre in enumerate(sae.pre_activations(x)):
        for feature in pre.argsort(descending=True)[:k]:
            expected[row, feature] = max(pre[feature], 0)
    assert torch.equal(sae.encode(x), expected)


def test_topk_with_rescaling_by_decoder_norm_is_folded_on_loading(tmp_path, x):
    from sae_lens import SAE

    save_sae(random_sae("topk"), tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(config | {"rescale_acts_by_decoder_norm": True}))
    theirs, ours = SAE.load_from_disk(tmp_path), load_sae(tmp_path)
    torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-4)


def test_rescaling_by_decoder_norm_of_an_sae_lens_object_is_folded(x):
    from sae_lens import SAE

    theirs = lens_sae("topk")
    theirs.cfg.rescale_acts_by_decoder_norm = True
    theirs = SAE.from_dict(theirs.cfg.to_dict())
    theirs.load_state_dict(lens_sae("topk").state_dict())
    ours = from_sae_lens(theirs)
    torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-4)
