"""Stage ``saes``: sparse autoencoders are trained or loaded for each layer, then judged together on held-out text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.errors import SettingsError
from ato.models.sites import Hook
from ato.numerics.bootstrap import number_or_none
from ato.numerics.devices import choose_device
from ato.residuals import run_pass
from ato.saes import SharedEncoding, SparseAutoencoder, load_sae, save_sae
from ato.saes.files import check_sae
from ato.saes.pretrained import load_pretrained, split_release
from ato.saes.quality import QualityLimits, Reconstruction, SAEQuality
from ato.saes.splicing import CERecovered, ce_recovered, splice_losses
from ato.saes.training.trainer import train_sae
from tasks.collect.sources import collection_row, residual_source
from tasks.engine.columns import estimate_columns
from tasks.engine.model_cache import check_layers, language_model
from tasks.engine.parallel_parts import run_parts
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage, checked_together, one_at_a_time
from tasks.settings import EvaluateSettings, ModelSettings, SAESettings
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

JUDGING = {"judge_sequences", "max_fvu", "min_ce_recovered", "max_dead_share"}


@dataclass(frozen=True)
class Unit:
    """One SAE: the stage that obtains its weights, and the stage that judges it and names it."""

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


@task(name="saes", cache_policy=NO_CACHE)
@one_at_a_time("saes")
def obtain_saes(
    collection: str, model: ModelSettings, settings: SAESettings, evaluate: EvaluateSettings, parts: int = 1
) -> list[str]:
    """Train or load the SAE of every layer, judge those that are new in one pass; returns their keys.

    Args:
        parts: more than 1 makes a task of each layer, with a judgement of its own; 1 does all of it here.

    Raises:
        SettingsError: a layer has both a path and a release.
        SAEError: an SAE that cannot be read, or that reads another width, site or layer than it is to.
        UnavailableError: a release that is not on this machine, without a network.
    """
    warehouse = Warehouse()
    if both := sorted({*settings.paths} & {*settings.releases}):
        raise SettingsError(f"layers {both} have both a path and a release", where="saes", cure="leave one out")
    layers = sorted({*settings.layers, *settings.paths, *settings.releases})
    units = [_unit(warehouse, collection, layer, settings, evaluate) for layer in layers]
    missing = [unit for unit in units if not unit.judgement.skip()]
    if missing:
        row = collection_row(warehouse, collection)
        check_layers(set(layers), tuple(row["layers"]), where=collection)
        if parts > 1:
            run_parts("saes", obtain_sae, [unit.layer for unit in missing], collection, model, settings, evaluate)
        else:
            _obtain(missing, row, model, settings, evaluate)
    return [unit.key for unit in units]


@task(name="saes, part", cache_policy=NO_CACHE)
def obtain_sae(
    layer: int, collection: str, model: ModelSettings, settings: SAESettings, evaluate: EvaluateSettings
) -> None:
    """Train or load, and judge, the SAE of one layer."""
    warehouse = Warehouse()
    unit = _unit(warehouse, collection, layer, settings, evaluate)
    if not unit.judgement.complete:  # by an attempt before this one
        _obtain([unit], collection_row(warehouse, collection), model, settings, evaluate)


def _obtain(
    units: list[Unit], row: dict[str, Any], model: ModelSettings, settings: SAESettings, evaluate: EvaluateSettings
) -> None:
    for unit in units:
        if not unit.weights.complete:
            _obtain_weights(unit, row, model, settings)
    _judge(units, row, model, settings, evaluate)


def _unit(warehouse: Warehouse, collection: str, layer: int, settings: SAESettings, evaluate: EvaluateSettings) -> Unit:
    if path := settings.paths.get(layer):
        own: dict[str, Any] = {"layer": layer, "path": path, "weights_hash": load_sae(path).weights_hash}
        slug = f"loaded-L{layer:02d}"
    elif release := settings.releases.get(layer):
        own = {"layer": layer, "release": ":".join(split_release(release))}
        slug = f"pretrained-L{layer:02d}"
    else:
        own = settings.model_dump(exclude={"layers", "paths", "releases", *JUDGING}) | {"layer": layer}
        slug = f"{settings.architecture}-L{layer:02d}-{settings.d_sae}"
    # Version 2: TopK SAEs are trained by ato.saes.training.topk; in bfloat16 their weights differ from those of before.
    weights = Stage(warehouse, "sae_weights", slug, settings=own, inputs=[collection], collection=collection, version=2)
    judging = settings.model_dump(include=JUDGING)
    judging |= {"n_bootstrap": evaluate.n_bootstrap, "bootstrap_seed": evaluate.bootstrap_seed}
    judgement = Stage(warehouse, "saes", slug, settings=judging, inputs=[weights.key], collection=collection)
    return Unit(layer, weights, judgement)


def _obtain_weights(unit: Unit, row: dict[str, Any], model: ModelSettings, settings: SAESettings) -> None:
    """Publish the weights, and the log of the training, as artifacts of the weights stage."""
    stage = unit.weights
    with stage:
        place = {"d_model": row["d_model"], "site": row["site"], "layer": unit.layer}
        log: list[dict[str, Any]] = []
        if path := settings.paths.get(unit.layer):
            sae = load_sae(path, **place)
            say("saes", f"layer {unit.layer}: loaded {sae.architecture} with {sae.d_sae:,} features from {path}")
        elif release := settings.releases.get(unit.layer):
            sae = load_pretrained(*split_release(release))
            check_sae(sae, where=release, **place)
            say("saes", f"layer {unit.layer}: fetched {sae.architecture} with {sae.d_sae:,} features, {release}")
        else:
            source = residual_source(stage.warehouse, row, model)
            with Progress("saes", settings.n_tokens, f"tokens, layer {unit.layer}") as progress:
                trained = train_sae(
                    source,
                    unit.layer,
                    architecture=settings.architecture,
                    d_sae=settings.d_sae,
                    k=settings.k,
                    n_tokens=settings.n_tokens,
                    batch_size=settings.batch_size,
                    lr=settings.lr,
                    seed=settings.seed,
                    buffer_rows=settings.buffer_rows,
                    device=model.device,
                    on_progress=lambda done, total: progress.reach(done),
                    metadata={"model_name": row["model"], "hook_name": Hook(row["site"], unit.layer).lens_name},
                )
            sae, log = trained.sae, trained.log

        def write(folder: Any) -> None:
            save_sae(sae, folder)
            (folder / "training.json").write_text(json.dumps(log))

        stage.add(*stage.warehouse.publish_artifact_folder(write, "saes", stage.key))


def _judge(
    units: list[Unit], row: dict[str, Any], model: ModelSettings, settings: SAESettings, evaluate: EvaluateSettings
) -> None:
    """Reconstruction on all test tokens in one pass; spliced losses on some test sequences, the clean run shared."""
    warehouse = units[0].weights.warehouse
    placed = {unit.key: unit.sae.to(device_of_saes(model)) for unit in units}
    quality = {unit.key: SAEQuality(placed[unit.key], unit.layer) for unit in units}
    consumers = [SharedEncoding(placed[unit.key], unit.layer, [quality[unit.key]]) for unit in units]
    run_pass(
        residual_source(warehouse, row, model), consumers, layers=sorted({u.layer for u in units}), splits=["test"]
    )
    sequences = spread(stored_sequences(warehouse, row["collection"], splits=["test"]), settings.judge_sequences)
    lm = language_model(model)
    median_norm = dict(zip(row["layers"], row["median_norm"]))
    spliced = {unit.key: (unit.layer, unit.sae.to(lm.device)) for unit in units}
    losses = splice_losses(lm, spliced, sequences, median_norm=median_norm, site=row["site"])
    limits = QualityLimits(settings.max_fvu, settings.min_ce_recovered, settings.max_dead_share)
    with checked_together():
        for unit in units:
            with unit.judgement as stage:
                rebuilt = quality[unit.key].result(evaluate.bootstrap)
                recovered = ce_recovered(losses, unit.key, evaluate.bootstrap)
                sae_row = _row(unit, rebuilt, recovered, limits, settings, row["site"])
                stage.write("saes", [sae_row])
                if log := unit.log():
                    own = {"collection": stage.collection, "sae": unit.key}
                    stage.write("sae_training", [step | own for step in log], sae=unit.key)
                stage.tokens_run = sum(len(s.token_ids) for s in sequences)
            trust = "trusted" if sae_row["trusted"] else f"not trusted: {sae_row['distrust_reason']}"
            say(
                "saes",
                f"{unit.key}: FVU {float(rebuilt.fvu):.3f}, L0 {rebuilt.l0:.1f}, loss recovered "
                f"{float(recovered.ce_recovered):.3f}, dead {rebuilt.dead_share:.1%}; {trust}",
            )


def _row(
    unit: Unit, rebuilt: Reconstruction, recovered: CERecovered, limits: QualityLimits, settings: SAESettings, site: str
) -> dict[str, Any]:
    trusted, reason = limits.judge(
        fvu=float(rebuilt.fvu), dead_share=rebuilt.dead_share, ce_recovered=float(recovered.ce_recovered)
    )
    return {
        "collection": unit.weights.collection,
        "sae": unit.key,
        "layer": unit.layer,
        "site": site,
        "source": settings.paths.get(unit.layer, settings.releases.get(unit.layer, "trained")),
        "architecture": unit.sae.architecture,
        "d_sae": unit.sae.d_sae,
        "n_tokens": rebuilt.n_tokens,
        "n_documents": rebuilt.n_documents,
        "l0": rebuilt.l0,
        **estimate_columns(fvu=rebuilt.fvu, ce_recovered=recovered.ce_recovered),
        **{name: number_or_none(getattr(recovered, name)) for name in ("ce_clean", "ce_spliced", "ce_zero")},
        "dead_share": rebuilt.dead_share,
        "trusted": trusted,
        "distrust_reason": reason,
        "path": f"artifacts/saes/{unit.weights.key}",
        "weights_hash": unit.sae.weights_hash,
        "neuronpedia_id": unit.sae.metadata.get("neuronpedia_id"),
    }


def spread(items: Sequence[Any], n: int) -> list[Any]:
    """``n`` items evenly spaced over a sequence (all of them if there are no more)."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int))
    return [items[i] for i in chosen]


def sae_rows(warehouse: Warehouse, keys: list[str]) -> list[dict[str, Any]]:
    """Rows of the table ``saes``, by layer."""
    return rows(warehouse, "from saes where list_contains(?, sae) order by layer, sae", [keys])


def device_of_saes(model: ModelSettings) -> torch.device:
    """Where SAEs read stored residuals: the model's CUDA device, else the CPU."""
    device = choose_device(model.device)
    return device if device.type == "cuda" else torch.device("cpu")


def load_judged_sae(warehouse: Warehouse, row: dict[str, Any]) -> SparseAutoencoder:
    """The SAE of a row of the table ``saes``."""
    return load_sae(warehouse.artifact_path(*row["path"].split("/")[1:]))
