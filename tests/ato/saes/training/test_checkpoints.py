"""A training that is stopped at any step goes on to the weights that it would have had, to the bit."""

import os

import pytest
import torch

from ato.errors import DamagedFileError, SettingsError
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.trainer import TrainingPlan, train_saes
from tests.ato.saes.training.planted import LAYER, planted, source_of

SETTINGS = {"n_tokens": 256 * 24, "batch_size": 256, "buffer_rows": 4096, "log_every": 5, "precision": "float32"}


class Stopped(Exception):
    """As if the process had been killed."""


def stop_after(n: int):
    """Progress that ends the training when n steps are done."""

    def on_progress(done: int, total: int) -> None:
        if done >= n * SETTINGS["batch_size"]:
            raise Stopped

    return on_progress


def plans(*names: str) -> list[TrainingPlan]:
    """Small SAEs of these ways to train."""
    return [TrainingPlan(name, d_sae=32, k=4) for name in names]


def outcome(trained):
    """What must be equal: weights and logs."""
    return [(one.sae.weights_hash, one.log) for one in trained]


@pytest.mark.parametrize("buffer_rows", [512, 4096], ids=["streamed", "all in the buffer"])
def test_a_training_stopped_at_five_moments_gives_the_weights_and_the_curve_of_one_that_was_not(tmp_path, buffer_rows):
    source, own = source_of(planted(2000)[0]), SETTINGS | {"buffer_rows": buffer_rows}
    expected = train_saes(source, LAYER, plans(*TRAINABLE), **own)
    path, notes = tmp_path / "training.safetensors", []
    for moment in (2, 7, 8, 15, 22):
        with pytest.raises(Stopped):
            train_saes(
                source,
                LAYER,
                plans(*TRAINABLE),
                **own,
                checkpoint=path,
                checkpoint_every=3,
                on_progress=stop_after(moment),
            )
    found = train_saes(
        source, LAYER, plans(*TRAINABLE), **own, checkpoint=path, checkpoint_every=3, on_note=notes.append
    )
    assert outcome(found) == outcome(expected)
    assert notes == ["goes on after step 21 of 24"]
    steps = []
    again = train_saes(
        source, LAYER, plans(*TRAINABLE), **own, checkpoint=path, on_progress=lambda *done: steps.append(done)
    )
    assert outcome(again) == outcome(expected)
    assert steps == []
    assert os.listdir(tmp_path) == [path.name]


def test_a_checkpoint_of_other_settings_is_refused_with_each_difference(tmp_path):
    source, path = source_of(planted(2000)[0]), tmp_path / "training.safetensors"
    train_saes(source, LAYER, plans("topk"), **SETTINGS, checkpoint=path)
    with pytest.raises(SettingsError, match=r"batch_size was 256 and is 128; saes\[0\].lr was 0.003 and is 0.01 \("):
        train_saes(
            source, LAYER, [TrainingPlan("topk", 32, 4, lr=0.01)], **SETTINGS | {"batch_size": 128}, checkpoint=path
        )
    other = source_of(2 * planted(2000)[0])
    with pytest.raises(SettingsError, match="scale was"):
        train_saes(other, LAYER, plans("topk"), **SETTINGS, checkpoint=path)


def test_the_differences_are_named_one_by_one_and_snapshots_that_were_not_taken_too(tmp_path):
    source, path = source_of(planted(2000)[0]), tmp_path / "training.safetensors"
    train_saes(source, LAYER, plans("topk", "standard"), **SETTINGS, checkpoint=path)
    with pytest.raises(SettingsError, match=r": saes were 2 and are 1 \("):
        train_saes(source, LAYER, plans("topk"), **SETTINGS, checkpoint=path)
    changed = [TrainingPlan("topk", 32, 4), TrainingPlan("standard", 32, 4, l1_coefficient=0.5, dead_after=999)]
    told = r": saes\[1\].dead_after was 20000 and is 999; saes\[1\].l1_coefficient was None and is 0.5 \("
    with pytest.raises(SettingsError, match=told):
        train_saes(source, LAYER, changed, **SETTINGS, checkpoint=path)
    with pytest.raises(SettingsError, match=r"at step 24 already, and no snapshots were taken at \[3, 24\]"):
        train_saes(
            source,
            LAYER,
            plans("topk", "standard"),
            **SETTINGS,
            checkpoint=path,
            snapshots_at=[24, 3],
            on_snapshot=lambda *_: None,
        )


def test_a_snapshot_is_the_sae_as_it_is_then_and_changes_nothing(tmp_path):
    source, taken = source_of(planted(2000)[0]), {}
    names = list(TRAINABLE)
    found = train_saes(
        source,
        LAYER,
        plans(*names),
        **SETTINGS,
        snapshots_at=[0, 7, 24],
        on_snapshot=lambda number, step, sae: taken.setdefault((number, step), sae.weights_hash),
    )
    assert list(taken) == [(number, step) for step in (0, 7, 24) for number in range(len(names))]
    assert outcome(found) == outcome(train_saes(source, LAYER, plans(*names), **SETTINGS))
    for number, one in enumerate(found):
        assert taken[number, 24] == one.sae.weights_hash
        assert len({taken[number, step] for step in (0, 7, 24)}) == 3
    with pytest.raises(SettingsError, match=r"snapshots at \[25\] are not among the steps 0 to 24"):
        train_saes(source, LAYER, plans("topk"), **SETTINGS, snapshots_at=[3, 25])


@pytest.mark.parametrize(
    "damage", [lambda data: data[:500], lambda data: b"", lambda data: b"x" * 200], ids=["cut", "empty", "other"]
)
def test_a_damaged_checkpoint_is_an_error_with_its_cure(tmp_path, damage):
    source, path = source_of(planted(2000)[0]), tmp_path / "training.safetensors"
    train_saes(source, LAYER, plans("topk"), **SETTINGS, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match="remove it"):
        train_saes(source, LAYER, plans("topk"), **SETTINGS, checkpoint=path)


def test_another_number_of_threads_is_allowed_and_said(tmp_path):
    source, path, notes = source_of(planted(2000)[0]), tmp_path / "training.safetensors", []
    threads = torch.get_num_threads()
    with pytest.raises(Stopped):
        train_saes(
            source, LAYER, plans("topk"), **SETTINGS, checkpoint=path, checkpoint_every=1, on_progress=stop_after(3)
        )
    torch.set_num_threads(threads + 1)
    try:
        train_saes(source, LAYER, plans("topk"), **SETTINGS, checkpoint=path, on_note=notes.append)
    finally:
        torch.set_num_threads(threads)
    assert notes == [
        f"goes on after step 3 of 24; it had {threads} threads and has {threads + 1}: sums may be rounded another way"
    ]
