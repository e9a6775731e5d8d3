"""A process that is killed at any moment of a training leaves a checkpoint from which the same bytes come."""

import json
import os
import signal

import pytest
import torch

from tests.ato.saes.training.killed_training import SETTINGS, outcome, train
from tests.forked_programs import Programs

MOMENTS = ("step 2", "writing 1", "step 8", "snapshot 9", "step 20")
PROGRAM = "tests.ato.saes.training.killed_training"


@pytest.fixture
def until_killed(tmp_path_factory):
    """What a process says of a training until the moment at which it dies, or until it is done."""
    programs = Programs([PROGRAM, "torch._dynamo"])  # which optimizers import

    def run(checkpoint, moment=None):
        folder = tmp_path_factory.mktemp("printed")
        done = programs.run(PROGRAM, str(checkpoint), *([moment] if moment else []), folder=folder)
        assert done.returncode == (-signal.SIGKILL if moment else 0), done.stderr
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    yield run
    programs.close()


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_at_five_moments_it_gives_the_same_bytes_and_each_snapshot_once(until_killed, tmp_path, one_thread):
    expected_snapshots, path = [], tmp_path / "training.safetensors"
    expected = train(lambda *moment: expected_snapshots.append(moment) if len(moment) == 3 else None)
    assert expected[0].log[-1]["n_resampled"] > 0
    assert expected[2].n_tokens < SETTINGS["n_tokens"]
    said = []
    for moment in MOMENTS:
        told = until_killed(path, moment)
        assert told[-1][0] == moment
        said += told
        if moment == "snapshot 9":
            said.pop()  # killed while it was handed out: it comes again
    said += until_killed(path)
    assert said[-1] == ("done", outcome(expected))
    assert [moment for moment in said if moment[0].startswith("snapshot")] == expected_snapshots
    again = until_killed(path)
    assert again == [said[-1]]  # no step, no snapshot, nothing written
    assert os.listdir(tmp_path) == [path.name]
