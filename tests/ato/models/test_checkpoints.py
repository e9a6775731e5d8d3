"""Folders of checkpoints are read in the order of training."""

import pytest

from ato.errors import InputError
from ato.models.checkpoints import checkpoint_folders


def make(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text("{}")
    return str(folder)


def test_checkpoints_come_by_their_step_and_other_folders_are_left_out(tmp_path):
    name = make(tmp_path, "checkpoint-1000", "checkpoint-500", "checkpoint-20000", "run2-step7")
    (tmp_path / "runs").mkdir()
    assert [found.rpartition("/")[2] for found in checkpoint_folders(name)] == [
        "run2-step7",
        "checkpoint-500",
        "checkpoint-1000",
        "checkpoint-20000",
    ]


def test_a_model_stands_for_itself(tmp_path):
    assert checkpoint_folders("smollm2-135m") == ["smollm2-135m"]
    assert checkpoint_folders(make(tmp_path, ".")) == [str(tmp_path)]


def test_a_folder_without_checkpoints_or_steps_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        checkpoint_folders(str(tmp_path))
    with pytest.raises(InputError, match="no step in the name of 'final'"):
        checkpoint_folders(make(tmp_path, "final", "step-5"))
