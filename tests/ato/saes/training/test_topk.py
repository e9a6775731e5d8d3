"""The written-out gradients of TopK training are those of sae-lens' trainer, step by step."""

import pytest
import torch
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from ato.saes.training.jumprelu import trainer_config
from ato.saes.training.schedule import Schedule
from ato.saes.training.topk import TopKTrainer

D, D_SAE, BATCH = 12, 64, 96


def batches(n: int, device: str = "cpu") -> list[torch.Tensor]:
    """Tokens with a decaying spectrum: many features are never among the largest."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.arange(1, D + 1) ** -0.7
    return [(torch.randn(BATCH, D, generator=generator) * scale + 0.3).to(device) for _ in range(n)]


def both(k: int, n_steps: int, dead_after: int) -> tuple[TopKTrainer, SAETrainer]:
    """Our trainer and sae-lens' with the same weights."""
    schedule = Schedule(n_steps, BATCH, 1e-3, dead_after)
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, D, generator=torch.Generator().manual_seed(0)), dim=1)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D, d_sae=D_SAE, k=k))
    with torch.no_grad():
        sae.W_dec.copy_(0.1 * directions)
        sae.W_enc.copy_(0.1 * directions.T)
    config = trainer_config(schedule, "cpu", torch.float32)
    return TopKTrainer(0.1 * directions, k, schedule), SAETrainer(cfg=config, sae=sae, data_provider=iter(()))


@pytest.mark.parametrize(
    ("k", "dead_after", "dead"), [(4, 10**6, {"none"}), (4, 300, {"none", "many"}), (8, 900, {"none", "few", "many"})]
)
def test_weights_are_those_of_sae_lens_after_every_step(k, dead_after, dead):
    ours, theirs = both(k, 40, dead_after)
    seen = set()
    for x in batches(40):
        step, expected = ours.step(x), theirs.step(x)
        torch.testing.assert_close(step.sae_out, expected.sae_out.detach(), rtol=1e-4, atol=1e-5)
        assert (step.feature_acts > 0).sum() == (expected.feature_acts > 0).sum()
        for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs.sae, name).detach(), rtol=1e-3, atol=2e-5)
        assert torch.equal(ours.dead_neurons, theirs.dead_neurons)
        n = int(ours.dead_neurons.sum())
        seen.add("none" if n == 0 else "few" if n <= D // 2 else "many")  # the auxiliary loss takes D / 2 a token
    assert seen == dead


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_takes_the_steps_of_the_cpu():
    schedule = Schedule(20, BATCH, 1e-3, 200)
    directions = 0.1 * torch.nn.functional.normalize(torch.randn(D_SAE, D), dim=1)
    cpu, gpu = TopKTrainer(directions, 4, schedule), TopKTrainer(directions.cuda(), 4, schedule)
    for x in batches(20):
        cpu.step(x)
        gpu.step(x.cuda())
    torch.testing.assert_close(gpu.W_dec.cpu(), cpu.W_dec, rtol=1e-2, atol=1e-4)
