"""A small training as a program that says each of its moments, a JSON line each, and dies at the one that is named."""

import json
import os
import signal
import sys
from pathlib import Path

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


def outcome(found: list[TrainedSAE]) -> list[list]:
    """What must be equal; text, since NaN is not equal to itself."""
    return [[one.sae.weights_hash, one.log, one.n_tokens, str(one.n_epochs)] for one in found]


def main(checkpoint: str, last_moment: str = "") -> None:
    """Train with a checkpoint; kill -9 at a moment, before what follows it."""
    torch.set_num_threads(1)
    n_written = 0

    def say(*moment: object) -> None:
        print(json.dumps(moment), flush=True)
        if moment[0] == last_moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def fsync(file: int) -> None:
        nonlocal n_written
        n_written += 1
        say(f"writing {n_written}")

    os.fsync = fsync
    say("done", outcome(train(say, Path(checkpoint))))


if __name__ == "__main__":
    main(*sys.argv[1:])
