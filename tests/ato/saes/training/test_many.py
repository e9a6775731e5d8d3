"""Many SAEs in one pass: each is what it would be alone, whatever its architecture, and finds what was planted."""

import numpy as np
import pytest
import torch

from ato.errors import SettingsError
from ato.saes import load_sae, save_sae
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.methods.matryoshka import widths_of
from ato.saes.training.trainer import TrainingPlan, train_saes
from tests.ato.saes.training.planted import LAYER, QUICK, held_out, planted, source_of

PLANS = [TrainingPlan(name, d_sae=32, k=3, lr=3e-3) for name in TRAINABLE]
SHARED = {name: QUICK[name] for name in QUICK if name not in ("d_sae", "k", "lr", "architecture")}


@pytest.fixture(scope="module")
def trained():
    """An SAE of each way to train, in one pass."""
    return train_saes(source_of(planted()[0]), LAYER, PLANS, **SHARED)


def test_one_pass_gives_what_each_alone_gives_to_the_bit():
    few, source = SHARED | {"n_tokens": 2560}, source_of(planted(2000)[0])
    plans = [*PLANS, TrainingPlan("topk", d_sae=64, k=5, seed=3)]
    together = train_saes(source, LAYER, plans, **few)
    for plan, one in zip(plans, together, strict=True):
        (alone,) = train_saes(source, LAYER, [plan], **few)
        assert one.sae.weights_hash == alone.sae.weights_hash
        assert one.log == alone.log


@pytest.mark.parametrize("name", TRAINABLE)
def test_planted_directions_are_found_with_the_sparsity_that_was_asked_for(trained, name):
    x, directions = planted()
    one = trained[list(TRAINABLE).index(name)]
    cosines = (one.sae.decoder_directions.numpy() @ directions.T).max(0)
    quality = held_out(one.sae, x)
    print(name, np.mean(cosines), quality.fvu.value, quality.l0)
    assert np.mean(cosines) > 0.9
    assert quality.l0 == pytest.approx(3, rel=0.35)


@pytest.mark.parametrize("name", TRAINABLE)
def test_each_loads_in_sae_lens_and_here_and_encodes_the_same(trained, name, tmp_path):
    from sae_lens import SAE

    x = torch.tensor(planted()[0][:200], dtype=torch.float32)
    sae = trained[list(TRAINABLE).index(name)].sae
    theirs, ours = SAE.load_from_disk(save_sae(sae, tmp_path)), load_sae(tmp_path)
    torch.testing.assert_close(theirs.encode(x).detach(), sae.encode(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(ours.encode(x), sae.encode(x))
    assert ours.metadata.get("trained_as", ours.architecture) == name


def test_nested_dictionaries_halve_down_to_a_sixteenth():
    assert widths_of(4096) == [256, 512, 1024, 2048, 4096]
    assert widths_of(6) == [1, 3, 6]
    assert widths_of(1) == [1]


def test_a_plan_that_contradicts_itself_is_refused():
    with pytest.raises(SettingsError, match="cannot be trained: use batchtopk or"):
        TrainingPlan("relu")
    with pytest.raises(SettingsError, match="k = 33"):
        TrainingPlan("topk", d_sae=32, k=33)
