"""The learning rate rises, stays and falls as sae-lens' does, and as the settings say."""

import math

import pytest
import torch

from ato.saes.training.lens import trainer_config
from ato.saes.training.schedule import Schedule


@pytest.mark.parametrize("n_steps", [1, 2, 19, 40, 100])
def test_the_learning_rate_is_that_of_sae_lens_at_every_step(n_steps):
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    schedule = Schedule(n_steps, 16, 1e-3, 1000)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=4, d_sae=8, k=2))
    config = trainer_config(schedule, "cpu", torch.float32)
    theirs = SAETrainer(cfg=config, sae=sae, data_provider=iter(()))
    for done in range(n_steps):
        assert schedule.lr_after(done) == pytest.approx(theirs.optimizer.param_groups[0]["lr"], rel=1e-6)
        theirs.step(torch.randn(16, 4, generator=torch.Generator().manual_seed(done)))


def test_by_default_a_twentieth_of_the_steps_rises_and_three_tenths_fall_to_the_bit():
    for n_steps in (*range(1, 500), 7919, 50_000, 1_000_000):
        schedule = Schedule(n_steps, 1024, 3e-3, 20_000)
        warm_up = n_steps // 20
        decay = min(3 * n_steps // 10, n_steps - warm_up - 1)
        assert (schedule.warm_up, schedule.decay) == (warm_up, decay)
        for done in {0, warm_up, n_steps // 2, n_steps - 1, n_steps - decay}:
            rise = (done + 1) / warm_up if warm_up else 1.0
            fall = (n_steps - done) / decay if decay else 1.0
            assert schedule.lr_after(done) == 3e-3 * min(rise, fall, 1.0)


def test_the_learning_rate_stays_or_falls_in_a_line_or_in_half_a_cosine():
    rates = {
        decay: [Schedule(100, 1, 1.0, 10, decay, 0.1, 0.4).lr_after(done) for done in range(100)]
        for decay in ("constant", "linear", "cosine")
    }
    for decay, rate in rates.items():
        assert rate[:10] == [pytest.approx((i + 1) / 10) for i in range(10)], decay
        assert set(rate[10:61]) == {1.0}
    assert set(rates["constant"][10:]) == {1.0}
    assert rates["linear"][61:] == [pytest.approx(1 - i / 40) for i in range(1, 40)]
    assert rates["cosine"][61:] == [pytest.approx((1 + math.cos(math.pi * i / 40)) / 2) for i in range(1, 40)]
