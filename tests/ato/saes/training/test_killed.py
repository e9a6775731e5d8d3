"""A process that is killed at any moment of a training leaves a checkpoint from which the same bytes come."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from ato.saes.training.plan import TrainedSAE, TrainingPlan
from ato.saes.training.trainer import train_saes
from tests.ato.saes.training.planted import LAYER, planted, source_of

SETTINGS = {"n_tokens": 128 * 24, "batch_size": 128, "buffer_rows": 512, "log_every": 5, "precision": "float32"}
PLANS = [
    TrainingPlan("topk", 64, 1, dead_features="resample", dead_after=256, dead_threshold=0.01, resample_every=384),
    TrainingPlan("batchtopk", 32, 4, lr_decay="cosine"),
    TrainingPlan("topk", 32, 4, lr=0.3, warm_up_share=0.5, held_out_every=2, patience=2),
]
SNAPSHOTS = (0, 4, 9, 24)
MOMENTS = ("step 2", "writing 1", "step 8", "snapshot 9", "step 20")


def train(say, checkpoint: Path | None = None):
    """The training; ``say`` is told of each moment, and may not come back."""
    x = planted(2000)[0]
    return train_saes(
        source_of(x),
        LAYER,
        PLANS,
        **SETTINGS,
        checkpoint=checkpoint,
        checkpoint_every=3,
        snapshots_at=SNAPSHOTS,
        on_snapshot=lambda number, step, sae: say(f"snapshot {step}", number, sae.weights_hash),
        on_progress=lambda done, _: say(f"step {done // 128}"),
    )


def in_a_process(pipe: Connection, checkpoint: Path) -> None:
    """Trains, and waits for an answer at each moment."""
    torch.set_num_threads(1)
    n_written, to_disk = 0, os.fsync

    def say(*moment: object) -> None:
        pipe.send(moment)
        pipe.recv()

    def fsync(file: int) -> None:
        nonlocal n_written
        n_written += 1
        say(f"writing {n_written}")
        to_disk(file)

    os.fsync = fsync
    found = train(say, checkpoint)
    pipe.send(("done", outcome(found)))


def outcome(found: list[TrainedSAE]) -> list[tuple]:
    """What must be equal; text, since NaN is not equal to itself."""
    return [(one.sae.weights_hash, one.log, one.n_tokens, str(one.n_epochs)) for one in found]


def until_killed(checkpoint: Path, moment: str | None) -> list[tuple]:
    """What a process says until the moment at which it is killed, or until it is done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # which optimizers import
    ours, theirs = context.Pipe()
    process = context.Process(target=in_a_process, args=(theirs, checkpoint))
    process.start()
    said: list[tuple] = []
    while not said or said[-1][0] not in (moment, "done"):
        said.append(ours.recv())
        if said[-1][0] not in (moment, "done"):
            ours.send(None)
    if said[-1][0] != "done":
        process.kill()
    process.join()
    assert process.exitcode == (0 if said[-1][0] == "done" else -9)
    return said


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_at_five_moments_it_gives_the_same_bytes_and_each_snapshot_once(tmp_path, one_thread):
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
    said += until_killed(path, None)
    assert said[-1] == ("done", outcome(expected))
    assert [moment for moment in said if moment[0].startswith("snapshot")] == expected_snapshots
    again = until_killed(path, None)
    assert again == [said[-1]]  # no step, no snapshot, nothing written
    assert os.listdir(tmp_path) == [path.name]
