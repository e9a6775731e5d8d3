"""Many SAEs in one pass: each is what it would be alone, whatever its architecture, and finds what was planted."""

import numpy as np
import pytest

from ato.saes.training.methods import TRAINABLE
from ato.saes.training.methods.matryoshka import widths_of
from ato.saes.training.trainer import TrainingPlan, train_saes
from tests.ato.saes.training.planted import ACTIVE, LAYER, QUICK, held_out, planted, source_of

WIDE = 32
"""Dimensions in which 24 random directions are told apart; in 16 several of them are near one another."""
PLANS = [TrainingPlan(name, d_sae=32, k=ACTIVE, lr=1e-2) for name in TRAINABLE]
SHARED = {name: QUICK[name] for name in ("n_tokens", "batch_size", "precision")}


@pytest.fixture(scope="module")
def trained():
    """An SAE of each way to train, in one pass."""
    return train_saes(source_of(planted(d=WIDE)[0]), LAYER, PLANS, **SHARED)


def test_one_pass_gives_what_each_alone_gives_to_the_bit():
    few, source = SHARED | {"n_tokens": 2560}, source_of(planted(2000)[0])
    plans = [
        *PLANS,
        TrainingPlan("topk", d_sae=64, k=5, seed=3),
        TrainingPlan("standard", d_sae=48, dead_features="resample", dead_after=512, resample_every=512),
        TrainingPlan("topk", d_sae=48, k=3, lr=1e-5, held_out_every=1, patience=1),
    ]
    together = train_saes(source, LAYER, plans, **few)
    for plan, one in zip(plans, together, strict=True):
        (alone,) = train_saes(source, LAYER, [plan], **few)
        assert one.sae.weights_hash == alone.sae.weights_hash
        assert (one.log, one.n_tokens, one.n_epochs) == (alone.log, alone.n_tokens, alone.n_epochs)


def test_the_size_of_source_blocks_changes_nothing_of_any_architecture():
    few, x = SHARED | {"n_tokens": 2560}, planted(2000)[0]
    hashes = [
        [one.sae.weights_hash for one in train_saes(source_of(x, block_rows=rows), LAYER, PLANS, **few)]
        for rows in (1, 77, 4096)
    ]
    assert hashes[0] == hashes[1] == hashes[2]


@pytest.mark.parametrize("name", TRAINABLE)
def test_planted_directions_are_found_with_the_sparsity_that_was_asked_for(trained, name):
    x, directions = planted(d=WIDE)
    one = trained[list(TRAINABLE).index(name)]
    cosines = np.abs(one.sae.decoder_directions.numpy() @ directions.T).max(0)
    assert np.mean(cosines) > 0.9
    assert held_out(one.sae, x).l0 == pytest.approx(ACTIVE, rel=0.15)


def test_nested_dictionaries_halve_down_to_a_sixteenth():
    assert widths_of(4096) == [256, 512, 1024, 2048, 4096]
    assert widths_of(6) == [1, 3, 6]
    assert widths_of(1) == [1]
