"""Obtaining the SAEs of a study: those of a layer are trained in one pass, others are loaded, baselines are made."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from ato.errors import SAEError
from ato.models.sites import Hook
from ato.residuals import ResidualBlock, run_pass
from ato.residuals.site_pairs import SitePairs
from ato.sae_studies.baselines import LINEAR, ResidualCovariance, baseline_saes, linear_transcoder
from ato.sae_studies.innovation import InnovationSAE, without_features
from ato.sae_studies.innovation_files import save_innovation_sae
from ato.saes import SparseAutoencoder, load_sae, save_sae
from ato.saes.files import check_sae
from ato.saes.formats.format import located
from ato.saes.pretrained import load_pretrained, split_release
from ato.saes.training.trainer import LogRow, TrainingPlan, train_saes
from ato.saes.training.transcoders import TranscoderPlan, train_transcoders
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_files import load_transcoder_folder, save_transcoder_folder
from tasks.engine.model_cache import language_model
from tasks.engine.progress import phase, say
from tasks.engine.stage import checked_together
from tasks.sae_study.checkpoints import training_folder
from tasks.sae_study.live import TrainingProgress
from tasks.sae_study.operators import operator_of, place_source
from tasks.sae_study.stages import Member, Place, SAEStudy
from tasks.sae_study.tracking import track
from tasks.settings.sae_study import SAETrainingSettings

CALIBRATION_ROWS = 4096
"""Train tokens on which the length of the random dictionary's reconstructions is set."""
CURVE_POINTS = 100
"""Rows of a training log, about."""
LOG = "training.json"
SNAPSHOTS = "studied_sae_snapshots"
"""Artifacts: a folder for each SAE, in it one for each step."""


def obtain_weights(of: SAEStudy, place: Place) -> None:
    """Train, load or make what the study lacks of one place."""
    missing = [member for member in of.members if member.place == place and not member.weights.complete]
    trained = [member for member in missing if member.baseline is None and member.of.is_trained]
    loaded = [member for member in missing if member.baseline is None and not member.of.is_trained]
    made = [member for member in missing if member.baseline is not None]
    if trained:
        _train(of, place, trained)
    for member in loaded:
        with member.weights:
            _publish(of, member, _loaded(of, member))
    if made:
        _make(of, place, made)


def _train(of: SAEStudy, place: Place, members: Sequence[Member]) -> None:
    study, training = of.study, of.settings.training
    folder = training_folder(study.warehouse, [member.weights.key for member in members])
    n_steps = max(1, training.n_tokens // training.batch_size)
    source = place_source(study, place)
    with checked_together(), TrainingProgress(str(place), training.n_tokens, [m.label for m in members]) as progress:
        options: dict[str, Any] = {
            "n_tokens": training.n_tokens,
            "batch_size": training.batch_size,
            "seed": training.seed,
            "buffer_rows": training.buffer_rows,
            "device": study.model.device,
            "precision": training.precision,
            "metadata": {"model_name": study.row.model},
            "checkpoint": folder / "checkpoint.safetensors",
            "checkpoint_every": training.checkpoint_every,
            "log_every": max(1, n_steps // CURVE_POINTS),
            "on_step": progress.show,
            "on_progress": lambda done, total: progress.reach(done),
            "on_note": lambda note: say("sae_study", f"{place}: {note}"),
        }
        trained: list[tuple[SparseAutoencoder | Transcoder, list[LogRow]]]
        if isinstance(source, SitePairs):
            plans = [TranscoderPlan(**_plan(member, training), skip=member.of.skip) for member in members]
            trained = [(one.transcoder, one.log) for one in train_transcoders(source, place.layer, plans, **options)]
        else:
            options["metadata"] |= {"hook_name": Hook(place.site, place.layer).lens_name}
            saes = train_saes(
                source,
                place.layer,
                [TrainingPlan(**_plan(member, training)) for member in members],
                snapshots_at=snapshot_steps(n_steps, training.n_snapshots),
                on_snapshot=lambda number, step, sae: _keep(folder, number, step, sae, members),
                **options,
            )
            trained = [(one.sae, one.log) for one in saes]
        track(of, members, [log for _, log in trained])
        for number, (member, (coder, log)) in enumerate(zip(members, trained, strict=True)):
            with member.weights:
                _publish(of, member, coder, log)
                if member.looked_at:
                    _publish_snapshots(member, folder / str(number))
    shutil.rmtree(folder)


def _plan(member: Member, training: SAETrainingSettings) -> dict[str, Any]:
    """The settings that a plan has in common with those of the study, and what is the SAE's own."""
    sae = member.of
    named = {field.name for field in fields(TrainingPlan)}
    shared = {name: value for name, value in training.model_dump().items() if name in named}
    return shared | {"architecture": sae.architecture, "d_sae": sae.d_sae, "k": sae.k, "seed": sae.seed}


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


def _publish(
    of: SAEStudy, member: Member, coder: SparseAutoencoder | Transcoder, log: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Publish the weights, and the log of the training, as artifacts of the member's stage."""
    place = member.place

    def write(into: Path) -> None:
        if isinstance(coder, Transcoder):
            save_transcoder_folder(coder, into, member.layer)
        elif place.operator:
            save_innovation_sae(InnovationSAE(operator_of(of.study, place), coder, place.operator), into)
        else:
            save_sae(coder, into)
        (into / LOG).write_text(json.dumps(list(log)))

    stage = member.weights
    stage.add(*stage.warehouse.publish_artifact_folder(write, "studied_saes", stage.key))


def check_readable(of: SAEStudy) -> None:
    """Refuse, before anything is trained, sites that the model lacks, and files and releases that are not of their place.

    Raises:
        ModelError: a block has no such site.
        SAEError: what is loaded cannot be read, or is of another width, site or layer.
    """
    missing = [member for member in of.saes if not member.weights.complete]
    for place in {member.place for member in missing}:
        for site in filter(None, (place.site, place.target_site)):
            _width(of, site, place.layer)
    for member in missing:
        if not member.of.is_trained:
            _loaded(of, member)


def _width(of: SAEStudy, site: str, layer: int) -> int:
    row = of.study.row
    return row.d_model if site == row.site else language_model(of.study.model).width(site, [layer])


def _loaded(of: SAEStudy, member: Member) -> SparseAutoencoder | Transcoder:
    at, named = member.place, member.of
    width = _width(of, at.site, at.layer)
    if at.target_site:
        assert named.path is not None  # the settings' faults name transcoders with a release
        transcoder = load_transcoder_folder(named.path, at.layer)
        with located(named.path):
            transcoder.check_sites(at.site, at.target_site, at.layer)
        found, expected = (transcoder.d_in, transcoder.d_out), (width, _width(of, at.target_site, at.layer))
        if found != expected:
            what = "the transcoder maps width {} to {}, the model has {} and {} there".format(*found, *expected)
            raise SAEError(what, where=named.path, cure="use a transcoder of this model and of these sites")
        return transcoder
    place: dict[str, Any] = {"d_model": width, "site": at.site, "layer": at.layer}
    if named.path is not None:
        return load_sae(named.path, **place)
    assert named.release is not None
    sae = load_pretrained(*split_release(named.release))
    check_sae(sae, where=named.release, **place)
    return sae


def _make(of: SAEStudy, place: Place, members: Sequence[Member]) -> None:
    """Baselines, from mean and covariance of the train residuals."""
    layer = place.layer
    moments, sample = ResidualCovariance(layer), _FirstRows(layer)
    source = place_source(of.study, place)
    with phase("sae_study", f"{place}: mean and covariance"):
        run_pass(source, [moments, sample], layers=[layer], splits=["train"])
    origin = {"model_name": of.study.row.model, "hook_name": Hook(place.site, layer).lens_name}
    if isinstance(source, SitePairs):
        origin["hook_name_out"] = Hook(place.target_site, layer).lens_name
        made: SparseAutoencoder | Transcoder = linear_transcoder(moments, source.d_in)
        for member in members:
            with member.weights:
                _publish(of, member, replace(made, metadata={**made.metadata, **origin}))
        return
    sizes = {(member.of.k, member.of.d_sae) for member in members if member.baseline != LINEAR}
    of_size = {size: baseline_saes(moments, *size, sample=sample.rows()) for size in sizes}
    with checked_together():
        for member in members:
            assert member.baseline is not None
            if member.baseline == LINEAR:
                made = without_features(operator_of(of.study, place)).sae
            else:
                made = of_size[member.of.k, member.of.d_sae][member.baseline]
            with member.weights:
                _publish(of, member, replace(made, metadata={**made.metadata, **origin}))


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
