"""Training curves for those who look at them elsewhere: runs of MLflow, and of Weights & Biases in offline mode."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ato.errors import UnavailableError
from ato.saes.training.plan import LogRow
from tasks.engine.progress import say
from tasks.sae_study.stages import Member, SAEStudy

WANDB_FOLDER = "wandb"
"""Beside the warehouse; ``wandb sync`` sends what is in it, if someone wants to."""


def check_tracking(where: Sequence[str]) -> None:
    """Refuse, before anything is trained, a place for curves that this machine has not.

    Raises:
        UnavailableError: Weights & Biases is not installed.
    """
    if "wandb" in where and find_spec("wandb") is None:
        cure = "pip install wandb, or leave it out of sae_study.training.track"
        raise UnavailableError("Weights & Biases is not installed", where="sae_study.training.track", cure=cure)


def track(of: SAEStudy, members: Sequence[Member], logs: Sequence[list[LogRow]]) -> None:
    """Log the curve of each SAE where the settings say; ``check_tracking`` has found it."""
    where = of.settings.training.track
    if "mlflow" in where:
        _to_mlflow(of, members, logs)
    if "wandb" in where:
        _to_wandb(of, members, logs)


def _params(of: SAEStudy, member: Member) -> dict[str, object]:
    training = of.settings.training
    own = member.of.model_dump(exclude={"path", "release"}, exclude_none=True)
    return own | {"n_tokens": training.n_tokens, "batch_size": training.batch_size, "lr": training.lr}


def _to_mlflow(of: SAEStudy, members: Sequence[Member], logs: Sequence[list[LogRow]]) -> None:
    from warehouse.registry.training_curves import TrainingCurves

    curves = TrainingCurves(of.study.warehouse.root)
    for member, log in zip(members, logs, strict=True):
        curves.log(member.weights.key, member.label, _params(of, member), log, of.study.collection)


def _to_wandb(of: SAEStudy, members: Sequence[Member], logs: Sequence[list[LogRow]]) -> None:
    import wandb

    storage = of.study.warehouse.storage
    folder = Path(storage.url("")).parent if storage.is_local else Path("data")
    os.environ["WANDB_SILENT"] = "true"
    for member, log in zip(members, logs, strict=True):
        run = wandb.init(
            project="ato-sae-study",
            name=member.label,
            id=member.weights.key.replace(".", "-"),
            config=_params(of, member),
            mode="offline",
            dir=str(folder),
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_machine_info=True,  # who may sync it later need not learn whose machine it was
                x_save_requirements=False,
            ),
        )
        for row in log:
            measured = {name: value for name, value in row.items() if value is not None}
            run.log(
                {name: value for name, value in measured.items() if name not in ("architecture", "step")},
                step=int(row["step"]),
            )
        run.finish()
    say(
        "sae_study",
        f"Weights & Biases: {len(members)} offline runs in {folder / WANDB_FOLDER}; `wandb sync` sends them",
    )
