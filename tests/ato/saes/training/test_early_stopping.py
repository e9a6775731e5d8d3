"""An SAE whose held-out FVU no longer falls stops, alone, and is returned as it was at its best."""

import numpy as np
import pytest
import torch

from ato.errors import CorpusError
from ato.residuals import MemorySource
from ato.saes.training.early_stopping import EarlyStopping, variance_unexplained
from ato.saes.training.plan import TrainingPlan
from ato.saes.training.trainer import train_saes
from tests.ato.saes.training.planted import LAYER, planted, source_of

FEW = {"n_tokens": 256 * 30, "batch_size": 256, "precision": "float32"}


def test_patience_counts_measurements_in_a_row_without_a_lower_fvu():
    stopping = EarlyStopping(2)
    for number, (fvu, stopped) in enumerate(
        [(0.9, False), (0.5, False), (0.6, False), (0.4, False), (0.4, False), (0.7, True)]
    ):
        stopping.update(fvu, {"W_dec": torch.tensor([float(number)])})
        assert stopping.stopped is stopped
    assert stopping.best["W_dec"].item() == 3
    again = EarlyStopping(2)
    again.restore(stopping.state())
    assert again.stopped
    assert again.best["W_dec"].item() == 3


def test_a_training_stops_when_it_gets_worse_and_gives_its_best_while_others_go_on():
    x = planted(2000)[0]
    source = source_of(x)
    plans = [
        TrainingPlan("topk", d_sae=32, k=2, lr=0.3, warm_up_share=0.5, held_out_every=2, patience=2),
        TrainingPlan("topk", d_sae=32, k=2, lr=3e-3, held_out_every=10),
        TrainingPlan("topk", d_sae=32, k=2, lr=3e-3),
    ]
    steps = []
    stopped, measured, plain = train_saes(source, LAYER, plans, **FEW, on_step=lambda *of: steps.append(of))
    assert stopped.n_tokens < measured.n_tokens == plain.n_tokens == 256 * 30
    curve = [row["fvu_held_out"] for row in stopped.log if row["fvu_held_out"] is not None]
    assert min(curve) == curve[-3] < curve[-2]
    held_out = torch.tensor(x[9::10], dtype=torch.float32)
    assert variance_unexplained(stopped.sae, held_out) == curve[-3]
    assert [row["step"] for row in measured.log if row["fvu_held_out"] is not None] == [10, 20, 30]
    assert measured.sae.weights_hash == plain.sae.weights_hash  # measuring changes nothing
    assert {number for number, _ in steps} == {0, 1, 2}


def test_the_held_out_fvu_is_that_of_its_definition():
    sae = train_saes(source_of(planted(2000)[0]), LAYER, [TrainingPlan("topk", 32, 2)], **FEW)[0].sae
    x = torch.tensor(planted(300, seed=7)[0], dtype=torch.float32)
    exact, rebuilt = x.double().numpy(), sae.reconstruct(x).double().numpy()
    expected = ((exact - rebuilt) ** 2).sum() / ((exact - exact.mean(0)) ** 2).sum()
    assert variance_unexplained(sae, x) == pytest.approx(expected, rel=1e-5)


def test_a_source_without_a_val_split_cannot_be_measured_on():
    source = MemorySource({LAYER: torch.tensor(planted(1000)[0])}, group=np.zeros(1000, np.int16))
    train_saes(source, LAYER, [TrainingPlan("topk", 32, 2)], n_tokens=256, batch_size=256)
    with pytest.raises(CorpusError, match=r"no val residuals .*\(layer 4\): collect more documents, or leave held_out"):
        train_saes(source, LAYER, [TrainingPlan("topk", 32, 2, held_out_every=1)], n_tokens=256, batch_size=256)
