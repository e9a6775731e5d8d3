"""Dead features that are resampled live again, those that are not stay dead, and no other weight is touched."""

import numpy as np
import pytest
import torch

from ato.saes.training.interface import TrainingStart
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.plan import TrainingPlan
from ato.saes.training.resampling import ENCODER_SHARE, worst_inputs
from ato.saes.training.schedule import Schedule
from ato.saes.training.trainer import train_saes
from tests.ato.saes.training.planted import LAYER, N_DIRECTIONS, held_out, planted, source_of

D, D_SAE, BATCH = 12, 40, 64
DEAD = torch.tensor([3, 17, 18, 39])


def trainer_of(name: str):
    """A trainer after some steps."""
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, D, generator=torch.Generator().manual_seed(0)), dim=1)
    schedule = Schedule(100, BATCH, 3e-3, 256, auxiliary=False)
    trainer = TRAINABLE[name].trainer(TrainingStart(directions, batch(0), 4, schedule, torch.float32))
    for step in range(10):
        trainer.step(batch(step))
    return trainer


def batch(number: int) -> torch.Tensor:
    return torch.randn(BATCH, D, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("name", TRAINABLE)
def test_new_features_start_as_the_recipe_says_and_all_others_are_as_they_were(name):
    trainer = trainer_of(name)
    before = {part: value.clone() for part, value in trainer.state().items()}
    own = {part: value.detach().clone() for part, value in trainer.weights().items()}
    living = ~trainer.dead_neurons
    inputs = batch(50)[: len(DEAD)]
    trainer.restart(DEAD, inputs)
    weights = {part: value.detach() for part, value in trainer.weights().items()}
    rows = torch.nn.functional.normalize(inputs - own["b_dec"], dim=1)
    torch.testing.assert_close(weights["W_dec"][DEAD], rows)
    norm = ENCODER_SHARE * own["W_enc"][:, living].norm(dim=0).mean()
    if name == "gated":  # whose folded encoder holds e^r beside the weights that are 0.2 of the mean
        norm = weights["W_enc"][:, DEAD[0]].norm()
    torch.testing.assert_close(weights["W_enc"][:, DEAD].T, norm * rows)
    assert (weights["b_enc"][DEAD] == 0).all()
    others = torch.ones(D_SAE, dtype=torch.bool)
    others[DEAD] = False
    for part, value in trainer.state().items():
        if value.shape == before[part].shape and D_SAE in value.shape:
            axis = list(value.shape).index(D_SAE)
            now, was = value.movedim(axis, 0), before[part].movedim(axis, 0)
            assert torch.equal(now[others], was[others]), part
            if part.endswith(("exp_avg", "exp_avg_sq")):
                assert not now[DEAD].any(), part
        else:
            assert torch.equal(value, before[part]), part
    trainer.step(batch(60))
    assert all(torch.isfinite(value).all() for value in trainer.weights().values())


def test_inputs_are_drawn_by_the_square_of_their_loss_each_once_and_the_same_again():
    losses = torch.tensor([0.0, 1.0, 2.0, 3.0])
    first = np.array([int(worst_inputs(losses, 1, (0, step))[0]) for step in range(4000)])
    shares = np.bincount(first, minlength=4) / len(first)
    np.testing.assert_allclose(shares, np.array([0, 1, 4, 9]) / 14, atol=0.03)
    assert sorted(worst_inputs(losses, 10, (1, 2)).tolist()) == [1, 2, 3]
    assert torch.equal(worst_inputs(losses, 2, (5, 6)), worst_inputs(losses, 2, (5, 6)))
    assert len(worst_inputs(torch.zeros(4), 2, (0, 0))) == 0


@pytest.fixture
def planted_dead(monkeypatch):
    """Half of the features of every SAE begin far from all inputs, with a bias that lets none of them fire."""
    from ato.saes.training import run

    class Started(run.SAERun):
        def __init__(self, plan, *args):
            super().__init__(plan, *args)
            own = self._trainer.sae if hasattr(self._trainer, "sae") else self._trainer
            with torch.no_grad():
                for name in ("b_enc", "b_gate", "b_mag"):
                    if getattr(own, name, None) is not None:
                        getattr(own, name)[plan.d_sae // 2 :] = -1e3

    monkeypatch.setattr("ato.saes.training.trainer.SAERun", Started)


def test_planted_dead_features_are_revived_by_resampling_and_not_without(planted_dead):
    x, directions = planted(3000, d=32)
    plans = [
        TrainingPlan(name, d_sae=32, k=2, lr=1e-2, dead_features=how, dead_after=1280, resample_every=2560)
        for name in TRAINABLE
        for how in ("none", "resample")
    ]
    trained = train_saes(source_of(x), LAYER, plans, n_tokens=256 * 120, batch_size=256, precision="float32")
    for plan, one in zip(plans, trained, strict=True):
        last, found = one.log[-1], np.abs(one.sae.decoder_directions.numpy() @ directions.T).max(0)
        if plan.dead_features == "none":
            assert (last["n_resampled"], last["dead_share"] >= 0.5) == (0, True), plan
            # 16 features cannot be 24 directions.
            assert (found > 0.9).sum() <= 16 < N_DIRECTIONS
            without = held_out(one.sae, x).fvu.value
        else:
            assert last["n_resampled"] >= 16, plan
            assert last["dead_share"] < 0.4, plan  # eight of the 32 have nothing to find
            assert held_out(one.sae, x).fvu.value < without, plan


def test_nothing_is_resampled_in_the_last_part_of_the_training(planted_dead):
    plan = TrainingPlan("topk", d_sae=32, k=2, dead_features="resample", dead_after=256, resample_every=256)
    (one,) = train_saes(
        source_of(planted(2000)[0]), LAYER, [plan], n_tokens=256 * 40, batch_size=256, log_every=1, precision="float32"
    )
    counts = [row["n_resampled"] for row in one.log]
    assert counts == sorted(counts)
    assert counts[0] < counts[27] == counts[-1]
    assert any(row["dead_share"] > 0 for row in one.log[28:])  # there would have been something to resample
