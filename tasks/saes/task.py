"""Stage ``saes``: sparse autoencoders are trained or loaded for each layer, then judged together on held-out text."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ato.errors import SettingsError
from ato.models.sites import Hook
from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import number_or_none
from ato.residuals import run_pass
from ato.saes import SharedEncoding, SparseAutoencoder, load_sae, save_sae
from ato.saes.files import check_sae
from ato.saes.loss_recovered import CERecovered, ce_recovered
from ato.saes.pretrained import load_pretrained, split_release
from ato.saes.quality import QualityLimits, Reconstruction, SAEQuality, l0_warning
from ato.saes.splicing import splice_losses
from ato.saes.training.trainer import train_sae, training_place
from tasks.collect.sources import residual_source
from tasks.engine.columns import estimate_columns
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.parallel_parts import part_task, run_parts
from tasks.engine.progress import Progress, phase, say
from tasks.engine.stage import Stage, checked_together
from tasks.engine.study import Study
from tasks.engine.worker_precision import check_worker_precision
from tasks.settings import SAESettings
from warehouse.catalog.lookups import SAERow
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

JUDGING = {"judge_sequences", "max_fvu", "min_ce_recovered", "max_dead_share"}


@dataclass(frozen=True)
class SAEStages:
    """One SAE with its two stages: the one that obtains its weights, and the one that judges it and names it."""

    layer: int
    weights: Stage
    judgement: Stage

    @property
    def key(self) -> str:
        """Key of the SAE in all tables."""
        return self.judgement.key

    @cached_property
    def sae(self) -> SparseAutoencoder:
        """The SAE itself."""
        return load_sae(self.weights.warehouse.artifact_path("saes", self.weights.key))

    def log(self) -> list[dict[str, Any]]:
        """Rows of its training; none for an SAE that was loaded."""
        path = self.weights.warehouse.artifact_path("saes", self.weights.key, "training.json")
        return json.loads(path.read_text()) if path.exists() else []


@stage_task("saes")
@one_at_a_time("saes")
def obtain_saes(study: Study, settings: SAESettings, parts: int = 1) -> list[str]:
    """Train or load the SAE of every layer, judge those that are new in one pass; returns their keys.

    Args:
        parts: more than 1 makes a task of each layer, with a judgement of its own; 1 does all of it here.

    Raises:
        SettingsError: a layer has both a path and a release.
        SAEError: an SAE that cannot be read, or that reads another width, site or layer than it is to.
        UnavailableError: a release that is not on this machine, without a network.
    """
    if both := sorted({*settings.paths} & {*settings.releases}):
        raise SettingsError(f"layers {both} have both a path and a release", where="saes", cure="leave one out")
    layers = sorted({*settings.layers, *settings.paths, *settings.releases})
    saes = [_stages(study, layer, settings) for layer in layers]
    missing = [sae for sae in saes if not sae.judgement.skip()]
    if missing:
        study.check_layers(layers)
        if parts > 1:
            run_parts("saes", obtain_sae, [sae.layer for sae in missing], study, settings, _precision(study))
        else:
            _obtain(missing, study, settings)
    return [sae.key for sae in saes]


@part_task("saes, part")
def obtain_sae(layer: int, study: Study, settings: SAESettings, precision: str) -> None:
    """Train or load, and judge, the SAE of one layer.

    Args:
        precision: of the products in training, as the flow process has it in the keys of trained SAEs.

    Raises:
        SettingsError: this worker's processor would choose another.
    """
    if layer not in {*settings.paths, *settings.releases}:
        cure = "use workers with processors of the flow process's kind, or --set fan_out.scheduler=''"
        check_worker_precision(_precision(study), precision, does="train SAEs", cure=cure)
    sae = _stages(study, layer, settings)
    if not sae.judgement.complete:  # by an attempt before this one
        _obtain([sae], study, settings)


def _precision(study: Study) -> str:
    """Of the products in training: another one on another machine, which makes other weights."""
    return str(training_place(study.model.device, "auto")[1])


def _obtain(missing: list[SAEStages], study: Study, settings: SAESettings) -> None:
    for sae in missing:
        if not sae.weights.complete:
            _obtain_weights(sae, study, settings)
    _judge(missing, study, settings)


def _stages(study: Study, layer: int, settings: SAESettings) -> SAEStages:
    if path := settings.paths.get(layer):
        own: dict[str, Any] = {"layer": layer, "path": path, "weights_hash": load_sae(path).weights_hash}
        slug = f"loaded-L{layer:02d}"
    elif release := settings.releases.get(layer):
        own = {"layer": layer, "release": ":".join(split_release(release))}
        slug = f"pretrained-L{layer:02d}"
    else:
        own = settings.model_dump(exclude={"layers", "paths", "releases", *JUDGING})
        own |= {"layer": layer, "precision": _precision(study)}
        slug = f"{settings.architecture}-L{layer:02d}-{settings.d_sae}"
    # Version 3 of trained ones: thresholds of JumpReLU SAEs are brought to k active features.
    weights = study.stage("sae_weights", slug, settings=own, version=3 if "architecture" in own else 2)
    judging = settings.model_dump(include=JUDGING)
    return SAEStages(layer, weights, study.stage("saes", slug, settings=judging, inputs=[weights.key]))


def _obtain_weights(stages: SAEStages, study: Study, settings: SAESettings) -> None:
    """Publish the weights, and the log of the training, as artifacts of the weights stage."""
    stage, layer, row = stages.weights, stages.layer, study.row
    with stage:
        expected: dict[str, Any] = {"d_model": row.d_model, "site": row.site, "layer": layer}
        log: list[dict[str, Any]] = []
        if path := settings.paths.get(layer):
            sae = load_sae(path, **expected)
            say("saes", f"layer {layer}: loaded {sae.architecture} with {sae.d_sae:,} features from {path}")
        elif release := settings.releases.get(layer):
            sae = load_pretrained(*split_release(release))
            check_sae(sae, where=release, **expected)
            say("saes", f"layer {layer}: fetched {sae.architecture} with {sae.d_sae:,} features, {release}")
        else:
            source = residual_source(study)
            with Progress("saes", settings.n_tokens, "tokens", f"layer {layer}") as progress:
                trained = train_sae(
                    source,
                    layer,
                    architecture=settings.architecture,
                    d_sae=settings.d_sae,
                    k=settings.k,
                    n_tokens=settings.n_tokens,
                    batch_size=settings.batch_size,
                    lr=settings.lr,
                    seed=settings.seed,
                    buffer_rows=settings.buffer_rows,
                    device=study.model.device,
                    on_progress=lambda done, total: progress.reach(done),
                    metadata={"model_name": row.model, "hook_name": Hook(row.site, layer).lens_name},
                )
            sae, log = trained.sae, trained.log

        def write(folder: Any) -> None:
            save_sae(sae, folder)
            (folder / "training.json").write_text(json.dumps(log))

        stage.add(*stage.warehouse.publish_artifact_folder(write, "saes", stage.key))


def _judge(saes: list[SAEStages], study: Study, settings: SAESettings) -> None:
    """Reconstruction on all test tokens in one pass; spliced losses on some test sequences, the clean run shared."""
    row, device = study.row, sae_device(study.model)
    readers = {of.key: of.sae.to(device) for of in saes}
    quality = {of.key: SAEQuality(readers[of.key], of.layer) for of in saes}
    consumers = [SharedEncoding(readers[of.key], of.layer, [quality[of.key]]) for of in saes]
    with phase("saes", "rebuilding test residuals"):
        run_pass(residual_source(study), consumers, layers=sorted({of.layer for of in saes}), splits=["test"])
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    sequences = evenly_spaced(held_out, settings.judge_sequences)
    lm = language_model(study.model)
    spliced = {of.key: (of.layer, of.sae.to(lm.device)) for of in saes}
    with Progress("saes", len(sequences), f"sequences ({len(saes)} SAEs spliced in)") as progress:
        losses = splice_losses(
            lm, spliced, sequences, median_norm=row.median_norms, site=row.site, on_sequences=progress.advance
        )
    with checked_together():
        for of in saes:
            with of.judgement as stage:
                rebuilt = quality[of.key].result()
                recovered = ce_recovered(losses, of.key)
                sae_row = _row(of, rebuilt, recovered, settings, row.site)
                stage.write("saes", [sae_row])
                if log := of.log():
                    own = {"collection": stage.collection, "sae": of.key}
                    stage.write("sae_training", [step | own for step in log], sae=of.key)
                stage.tokens_run = sum(len(s.token_ids) for s in sequences)
            trust = "trusted" if sae_row["trusted"] else f"not trusted: {sae_row['distrust_reason']}"
            say(
                "saes",
                f"{of.key}: FVU {float(rebuilt.fvu):.3f}, L0 {rebuilt.l0:.1f}, loss recovered "
                f"{float(recovered.ce_recovered):.3f}, dead {rebuilt.dead_share:.1%}; {trust}",
            )
            if sae_row["warning"]:
                say("saes", f"{of.key}: warning: {sae_row['warning']}")


def _row(
    of: SAEStages, rebuilt: Reconstruction, recovered: CERecovered, settings: SAESettings, site: str
) -> dict[str, Any]:
    limits = QualityLimits(settings.max_fvu, settings.min_ce_recovered, settings.max_dead_share)
    trusted, reason = limits.judge(
        fvu=float(rebuilt.fvu), dead_share=rebuilt.dead_share, ce_recovered=float(recovered.ce_recovered)
    )
    source = settings.paths.get(of.layer, settings.releases.get(of.layer, "trained"))
    warning = None if source == "trained" else l0_warning(rebuilt.l0, of.sae.declared_l0)
    return {
        "collection": of.weights.collection,
        "sae": of.key,
        "layer": of.layer,
        "site": site,
        "source": source,
        "architecture": of.sae.architecture,
        "d_sae": of.sae.d_sae,
        "n_tokens": rebuilt.n_tokens,
        "n_documents": rebuilt.n_documents,
        "l0": rebuilt.l0,
        "l0_declared": of.sae.declared_l0,
        **estimate_columns(fvu=rebuilt.fvu, ce_recovered=recovered.ce_recovered),
        **{name: number_or_none(getattr(recovered, name)) for name in ("ce_clean", "ce_spliced", "ce_zero")},
        "dead_share": rebuilt.dead_share,
        "trusted": trusted,
        "distrust_reason": reason,
        "warning": warning,
        "path": f"artifacts/saes/{of.weights.key}",
        "weights_hash": of.sae.weights_hash,
        "neuronpedia_id": of.sae.metadata.get("neuronpedia_id"),
    }


def load_judged_sae(warehouse: Warehouse, row: SAERow) -> SparseAutoencoder:
    """The SAE of a row of the table ``saes``."""
    return load_sae(warehouse.artifact_path(*row.path.split("/")[1:]))
