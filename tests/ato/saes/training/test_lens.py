"""A step of the dense trainers is that of sae-lens' own trainer, to the bit; thresholds move in bfloat16 as in float32."""

import pytest
import torch
from sae_lens.saes.gated_sae import GatedTrainingSAE, GatedTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from ato.saes.training.interface import TrainingStart
from ato.saes.training.lens import LensTrainer, trainer_config
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.schedule import Schedule

D, D_SAE, BATCH, STEPS = 12, 40, 64, 30
KINDS = {
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig, {"l1_coefficient": 0.3, "l1_warm_up_steps": 5}),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig, {"l1_coefficient": 0.3, "l1_warm_up_steps": 5}),
    "jumprelu": (
        JumpReLUTrainingSAE,
        JumpReLUTrainingSAEConfig,
        {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 4.0, "pre_act_loss_coefficient": 1e-3},
    ),
}


def start(precision: torch.dtype = torch.float32, n_steps: int = STEPS, **settings) -> TrainingStart:
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, D, generator=torch.Generator().manual_seed(0)), dim=1)
    return TrainingStart(directions, batch(0), 4, Schedule(n_steps, BATCH, 3e-3, 200), precision, **settings)


def batch(number: int) -> torch.Tensor:
    return torch.randn(BATCH, D, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_weights_are_those_of_sae_lens_after_every_step(name, precision):
    kind, settings, own = KINDS[name]
    at = start(precision)
    ours = LensTrainer(at, lambda shape: kind(settings(**shape, **own)))
    sae = kind(settings(d_in=D, d_sae=D_SAE, **own))
    with torch.no_grad():
        sae.W_dec.copy_(at.directions)
        sae.W_enc.copy_(at.directions.T)
    theirs = SAETrainer(cfg=trainer_config(at.schedule, "cpu", precision), sae=sae, data_provider=iter(()))
    for step in range(STEPS):
        found, expected = ours.step(batch(step)), theirs.step(batch(step))
        theirs.n_training_steps += 1
        assert torch.equal(found.sae_out, expected.sae_out.detach())
        assert torch.equal(ours.dead_neurons, theirs.dead_neurons)
        for (part, weight), (_, other) in zip(ours.sae.named_parameters(), sae.named_parameters(), strict=True):
            assert torch.equal(weight, other), (step, part)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka_batchtopk", "jumprelu"])
def test_thresholds_move_in_bfloat16_products_as_they_do_in_float32(name):
    moved = {}
    for precision in (torch.float32, torch.bfloat16):
        trainer = TRAINABLE[name].trainer(start(precision, n_steps=150))
        first = trainer.weights()["threshold"].detach().clone()
        for step in range(150):
            trainer.step(batch(step))
        threshold = trainer.weights()["threshold"].detach()
        assert threshold.dtype == torch.float32
        moved[precision] = threshold - first
    exact, rounded = moved[torch.float32], moved[torch.bfloat16]
    assert float(exact.abs().median()) > 0.05
    # Small steps that are rounded away, as they are in bfloat16, leave a threshold where it was: an error of 1.
    assert float((rounded - exact).abs().mean() / exact.abs().mean()) < 0.1


def test_a_given_l1_coefficient_is_kept_and_one_that_is_not_given_moves():
    for given in (0.25, None):
        trainer = TRAINABLE["standard"].trainer(start(l1_coefficient=given))
        for step in range(STEPS):
            trainer.step(batch(step))
        assert (trainer.coefficients["l1"].current_value == 0.25) is (given is not None)
