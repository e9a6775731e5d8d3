"""The written-out gradients of sparse training are those of sae-lens' trainer, step by step."""

import pytest
import torch
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from ato.saes.training.choices import PerBatch, PerToken
from ato.saes.training.lens import trainer_config
from ato.saes.training.schedule import Schedule
from ato.saes.training.sparse import SparseTrainer

D, D_SAE, BATCH = 12, 64, 96
WIDTHS = [8, 24, D_SAE]


def batches(n: int, device: str = "cpu") -> list[torch.Tensor]:
    """Tokens with a decaying spectrum: many features are never among the largest."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.arange(1, D + 1) ** -0.7
    return [(torch.randn(BATCH, D, generator=generator) * scale + 0.3).to(device) for _ in range(n)]


def both(method: str, k: int, n_steps: int, dead_after: int) -> tuple[SparseTrainer, SAETrainer]:
    """Our trainer and sae-lens' with the same weights."""
    schedule = Schedule(n_steps, BATCH, 1e-3, dead_after)
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, D, generator=torch.Generator().manual_seed(0)), dim=1)
    shape = {"d_in": D, "d_sae": D_SAE, "k": k}
    sae = {
        "topk": lambda: TopKTrainingSAE(TopKTrainingSAEConfig(**shape)),
        "batchtopk": lambda: BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**shape)),
        "matryoshka": lambda: MatryoshkaBatchTopKTrainingSAE(
            MatryoshkaBatchTopKTrainingSAEConfig(**shape, matryoshka_widths=list(WIDTHS))
        ),
    }[method]()
    with torch.no_grad():
        sae.W_dec.copy_(0.1 * directions)
        sae.W_enc.copy_(0.1 * directions.T)
    choice = PerToken(k) if method == "topk" else PerBatch(k)
    ours = SparseTrainer(0.1 * directions, choice, schedule, widths=WIDTHS if method == "matryoshka" else None)
    config = trainer_config(schedule, "cpu", torch.float32)
    return ours, SAETrainer(cfg=config, sae=sae, data_provider=iter(()))


@pytest.mark.parametrize("method", ["topk", "batchtopk", "matryoshka"])
@pytest.mark.parametrize(("k", "dead_after"), [(4, 10**6), (4, 300), (8, 900)])
def test_weights_are_those_of_sae_lens_after_every_step(method, k, dead_after):
    ours, theirs = both(method, k, 40, dead_after)
    seen = set()
    for x in batches(40):
        step, expected = ours.step(x), theirs.step(x)
        torch.testing.assert_close(step.sae_out, expected.sae_out.detach(), rtol=1e-4, atol=1e-5)
        assert torch.equal(step.n_active.long(), (expected.feature_acts > 0).sum(1))
        for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs.sae, name).detach(), rtol=1e-3, atol=2e-5)
        assert torch.equal(ours.dead_neurons, theirs.dead_neurons)
        if method != "topk":
            assert ours.choice.threshold == pytest.approx(float(theirs.sae.topk_threshold), rel=1e-5)
        seen.add(bool(ours.dead_neurons.any()))
    assert seen == ({False} if dead_after == 10**6 else {False, True})  # with the auxiliary loss, and without


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_takes_the_steps_of_the_cpu():
    schedule = Schedule(20, BATCH, 1e-3, 200)
    directions = 0.1 * torch.nn.functional.normalize(torch.randn(D_SAE, D), dim=1)
    cpu, gpu = (SparseTrainer(d, PerToken(4), schedule) for d in (directions, directions.cuda()))
    for x in batches(20):
        cpu.step(x)
        gpu.step(x.cuda())
    torch.testing.assert_close(gpu.W_dec.cpu(), cpu.W_dec, rtol=1e-2, atol=1e-4)
