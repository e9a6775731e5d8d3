"""Obtaining the SAEs of a study: those of a layer are trained in one pass, others are loaded, baselines are made."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from ato.models.sites import Hook
from ato.residuals import ResidualBlock, run_pass
from ato.sae_studies.baselines import ResidualCovariance, baseline_saes
from ato.saes import SparseAutoencoder, load_sae, save_sae
from ato.saes.files import check_sae
from ato.saes.pretrained import load_pretrained, split_release
from ato.saes.training.trainer import TrainingPlan, train_saes
from tasks.collect.sources import residual_source
from tasks.engine.progress import phase, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.sae_study.checkpoints import training_folder
from tasks.sae_study.live import TrainingProgress
from tasks.sae_study.stages import Member, SAEStudy
from tasks.sae_study.tracking import track
from tasks.settings.sae_study import SAETrainingSettings

CALIBRATION_ROWS = 4096
"""Train tokens on which the length of the random dictionary's reconstructions is set."""
CURVE_POINTS = 100
"""Rows of a training log, about."""
LOG = "training.json"
SNAPSHOTS = "studied_sae_snapshots"
"""Artifacts: a folder for each SAE, in it one for each step."""


def obtain_weights(of: SAEStudy, layer: int) -> None:
    """Train, load or make what the study lacks of one layer."""
    missing = [member for member in of.members if member.layer == layer and not member.weights.complete]
    trained = [member for member in missing if member.baseline is None and member.of.is_trained]
    loaded = [member for member in missing if member.baseline is None and not member.of.is_trained]
    made = [member for member in missing if member.baseline is not None]
    if trained:
        _train(of, layer, trained)
    for member in loaded:
        with member.weights:
            _publish(member, _loaded(of.study, member))
    if made:
        _make(of, layer, made)


def _train(of: SAEStudy, layer: int, members: Sequence[Member]) -> None:
    study, training = of.study, of.settings.training
    plans = [_plan(member, training) for member in members]
    folder = training_folder(study.warehouse, [member.weights.key for member in members])
    n_steps = max(1, training.n_tokens // training.batch_size)
    with checked_together(), TrainingProgress(layer, training.n_tokens, [m.label for m in members]) as progress:
        trained = train_saes(
            residual_source(study),
            layer,
            plans,
            n_tokens=training.n_tokens,
            batch_size=training.batch_size,
            seed=training.seed,
            buffer_rows=training.buffer_rows,
            device=study.model.device,
            precision=training.precision,
            metadata={"model_name": study.row.model, "hook_name": Hook(study.row.site, layer).lens_name},
            checkpoint=folder / "checkpoint.safetensors",
            checkpoint_every=training.checkpoint_every,
            log_every=max(1, n_steps // CURVE_POINTS),
            snapshots_at=snapshot_steps(n_steps, training.n_snapshots),
            on_snapshot=lambda number, step, sae: _keep(folder, number, step, sae, members),
            on_step=progress.show,
            on_progress=lambda done, total: progress.reach(done),
            on_note=lambda note: say("sae_study", f"layer {layer}: {note}"),
        )
        track(of, members, trained)
        for number, (member, one) in enumerate(zip(members, trained, strict=True)):
            with member.weights:
                _publish(member, one.sae, one.log)
                if member.looked_at:
                    _publish_snapshots(member, folder / str(number))
    shutil.rmtree(folder)


def _plan(member: Member, training: SAETrainingSettings) -> TrainingPlan:
    """The settings that a plan has in common with those of the study, and what is the SAE's own."""
    sae = member.of
    named = {field.name for field in fields(TrainingPlan)}
    shared = {name: value for name, value in training.model_dump().items() if name in named}
    return TrainingPlan(**shared | {"architecture": sae.architecture, "d_sae": sae.d_sae, "k": sae.k, "seed": sae.seed})


def snapshot_steps(n_steps: int, n_snapshots: int) -> list[int]:
    """Steps at which an SAE is kept: from the first to the last, in equal ratios."""
    if not n_snapshots:
        return []
    ratios = [i / max(n_snapshots - 1, 1) for i in range(n_snapshots)]
    return sorted({round(n_steps**ratio) for ratio in ratios} | {n_steps})


def _keep(folder: Path, number: int, step: int, sae: SparseAutoencoder, members: Sequence[Member]) -> None:
    """Save a snapshot of one of the SAEs beside the checkpoint; the same again after a training that was stopped."""
    if not members[number].looked_at:
        return
    target = folder / str(number) / f"step-{step:08d}"
    staging = target.with_name(f".{target.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    save_sae(sae, staging)
    shutil.rmtree(target, ignore_errors=True)
    staging.replace(target)


def _publish_snapshots(member: Member, folder: Path) -> None:
    def write(into: Path) -> None:
        for snapshot in sorted(folder.glob("step-*")):
            shutil.copytree(snapshot, into / snapshot.name)

    if folder.exists():
        member.weights.add(*member.weights.warehouse.publish_artifact_folder(write, SNAPSHOTS, member.weights.key))


def _publish(member: Member, sae: SparseAutoencoder, log: Sequence[Mapping[str, Any]] = ()) -> None:
    """Publish the weights, and the log of the training, as artifacts of the member's stage."""

    def write(into: Path) -> None:
        save_sae(sae, into)
        (into / LOG).write_text(json.dumps(list(log)))

    stage = member.weights
    stage.add(*stage.warehouse.publish_artifact_folder(write, "studied_saes", stage.key))


def _loaded(study: Study, member: Member) -> SparseAutoencoder:
    place: dict[str, Any] = {"d_model": study.row.d_model, "site": study.row.site, "layer": member.layer}
    if member.of.path is not None:
        return load_sae(member.of.path, **place)
    assert member.of.release is not None
    sae = load_pretrained(*split_release(member.of.release))
    check_sae(sae, where=member.of.release, **place)
    return sae


def _make(of: SAEStudy, layer: int, members: Sequence[Member]) -> None:
    """Baselines, from mean and covariance of the train residuals."""
    moments, sample = ResidualCovariance(layer), _FirstRows(layer)
    with phase("sae_study", f"layer {layer}: mean and covariance"):
        run_pass(residual_source(of.study), [moments, sample], layers=[layer], splits=["train"])
    origin = {"model_name": of.study.row.model, "hook_name": Hook(of.study.row.site, layer).lens_name}
    sizes = {(member.of.k, member.of.d_sae) for member in members}
    of_size = {size: baseline_saes(moments, *size, sample=sample.rows()) for size in sizes}
    with checked_together():
        for member in members:
            assert member.baseline is not None
            made = of_size[member.of.k, member.of.d_sae][member.baseline]
            with member.weights:
                _publish(member, replace(made, metadata={**made.metadata, **origin}))


class _FirstRows:
    """The first rows of a stream, on which the random dictionary is calibrated."""

    def __init__(self, layer: int):
        self._layer, self._parts, self._n = layer, list[torch.Tensor](), 0

    def update(self, block: ResidualBlock) -> "_FirstRows":
        if self._n < CALIBRATION_ROWS:
            part = block.residuals[self._layer][: CALIBRATION_ROWS - self._n].float().cpu().clone()
            self._parts.append(part)
            self._n += len(part)
        return self

    def rows(self) -> torch.Tensor:
        return torch.cat(self._parts)


def training_log(member: Member) -> list[dict[str, Any]]:
    """Rows of its training; none of an SAE that was not trained here."""
    path = member.weights.warehouse.artifact_path("studied_saes", member.weights.key, LOG)
    return json.loads(path.read_text())


def snapshots_of(member: Member) -> list[tuple[int, SparseAutoencoder]]:
    """Its snapshots by step, the last of them the SAE itself; none where none were kept.

    An SAE whose training was stopped early is that of the lowest held-out FVU: what came later leads nowhere.
    """
    folder = member.weights.warehouse.artifact_path(SNAPSHOTS, member.weights.key)
    kept = [(int(path.name.removeprefix("step-")), load_sae(path)) for path in sorted(folder.glob("step-*"))]
    if not kept:
        return []
    last = final_step(training_log(member))
    return [(step, sae) for step, sae in kept if step < last] + [(last, member.sae)]


def final_step(log: Sequence[Mapping[str, Any]]) -> int:
    """The step that an SAE is of: that of the lowest held-out FVU where it was measured, else the last."""
    measured = [row for row in log if row["fvu_held_out"] is not None]
    return int(min(measured, key=lambda row: row["fvu_held_out"])["step"] if measured else log[-1]["step"])
