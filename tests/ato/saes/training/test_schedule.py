"""The learning rate rises, stays and falls as sae-lens' does."""

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
