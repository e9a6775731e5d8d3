"""The pass that makes a collection: all shards in this process, or parts of them by several workers at a time.

Shard records (see ``tasks.collect.shard_source``) are the same either way: whoever comes after a killed run, in one process or in
many, replays what is stored and runs the rest. A part whose worker died is given to another by Dask.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.errors import SettingsError
from ato.residuals import run_pass
from tasks.collect.moment_parts import gather, is_gathered, keep
from tasks.collect.moments import MomentsPass, StudyMoments
from tasks.collect.plan import CollectionPlan, make_plan, part_path
from tasks.collect.shard_source import CollectingSource
from tasks.engine.model_cache import language_model, model_replicas
from tasks.engine.parallel_parts import divided, run_parts
from tasks.engine.progress import Progress
from tasks.settings import CollectSettings, ModelSettings, OperatorSettings
from warehouse.storage.warehouse import FileRecord, Warehouse

if TYPE_CHECKING:
    from ato.models import LanguageModel


@dataclass(frozen=True)
class Collected:
    """What a pass over all shards leaves."""

    plan: CollectionPlan
    records: list[dict[str, Any]]
    """Of the shards, in order."""
    tokens_run: int
    moments: StudyMoments | Sequence[range]
    """The moments, or the runs of shards whose moments are to be merged."""


def collect_shards(
    collection: str,
    model: ModelSettings,
    settings: CollectSettings,
    layers: tuple[int, ...],
    operators: OperatorSettings,
) -> Collected:
    """Run all shards here, in order; one stream feeds the writer of activations and the moments."""
    lm = language_model(model)
    lm.check_layers(layers)
    with Progress("collect", settings.n_tokens, "tokens") as progress:
        source = CollectingSource(
            Warehouse(), collection, lm, settings, layers, replicas=model_replicas(model), on_tokens=progress.advance
        )
        moments = MomentsPass(source, operators)
        run_pass(source, [moments])
    return Collected(source.plan, source.records, source.tokens_run, moments.moments)


def share_shards(
    collection: str,
    model: ModelSettings,
    settings: CollectSettings,
    layers: tuple[int, ...],
    operators: OperatorSettings,
    parts: int,
    dtype: str,
) -> Collected:
    """Let tasks run the shards, a run of consecutive ones each, after one that makes the plan and runs the pilot.

    Args:
        dtype: that the model must run in, by the collection's key.
    """
    warehouse = Warehouse()
    (tokens_run,) = run_parts("plan", plan_shards, [collection], model, settings, layers, dtype)
    plan = CollectionPlan.load(warehouse, collection)
    shards = divided(len(plan.sequences), parts)
    tokens_run += sum(run_parts("collect", collect_part, shards, collection, model, settings, layers, operators, dtype))
    records = [record for part in shards for record in _read_records(warehouse, collection, part)]
    return Collected(plan, records, tokens_run, shards)


@task(name="collect, plan", cache_policy=NO_CACHE)
def plan_shards(
    collection: str, model: ModelSettings, settings: CollectSettings, layers: tuple[int, ...], dtype: str
) -> int:
    """Write the sequences of all shards and run the pilot; returns the tokens that were run."""
    warehouse, lm = Warehouse(), _model_in(dtype, model)
    lm.check_layers(layers)
    lm.check_attention(settings.attention_layers)
    plan = make_plan(warehouse, collection, lm, settings)
    pilot = CollectingSource(warehouse, collection, lm, settings, layers, plan=plan, shards=[0])
    for _ in pilot.blocks():
        pass
    norms = pilot.records[0]["median_norm"]
    replace(plan, median_norm=norms and {int(layer): norm for layer, norm in norms.items()}).save(warehouse, collection)
    return pilot.tokens_run


@task(name="collect, part", cache_policy=NO_CACHE)
def collect_part(
    shards: range,
    collection: str,
    model: ModelSettings,
    settings: CollectSettings,
    layers: tuple[int, ...],
    operators: OperatorSettings,
    dtype: str,
) -> int:
    """Run some of the shards, or replay them; keeps their records and moments, and returns the tokens that were run."""
    warehouse = Warehouse()
    if _is_done(warehouse, collection, operators, shards):
        return 0
    lm, plan = _model_in(dtype, model), CollectionPlan.load(warehouse, collection)
    source = CollectingSource(
        warehouse, collection, lm, settings, layers, plan=plan, shards=shards, replicas=model_replicas(model)
    )
    with Progress("collect", len(shards), "shards") as progress:
        moments = gather(source, operators, progress)
    text = json.dumps(source.records)
    warehouse.publish_artifact(lambda path: path.write_text(text), *_records_path(collection, shards))
    keep(warehouse, collection, operators, shards, moments)
    return source.tokens_run


def _is_done(warehouse: Warehouse, collection: str, operators: OperatorSettings, shards: range) -> bool:
    """Whether an earlier run left the moments of these shards, and all files that their records name."""
    if not is_gathered(warehouse, collection, operators, shards):
        return False
    records = _read_records(warehouse, collection, shards)
    return not warehouse.damage(FileRecord(**file) for record in records for file in record["files"])


def _records_path(collection: str, shards: range) -> tuple[str, ...]:
    return part_path(collection, f"shards-{shards.start:05d}-{shards.stop:05d}.json")


def _read_records(warehouse: Warehouse, collection: str, shards: range) -> list[dict[str, Any]]:
    return json.loads(warehouse.artifact_path(*_records_path(collection, shards)).read_text())


def _model_in(dtype: str, model: ModelSettings) -> "LanguageModel":
    """The model of this worker, which must choose the precision that the collection's key was made with."""
    from ato.numerics.devices import choose_device, choose_dtype

    chosen = str(choose_dtype(model.dtype, choose_device(model.device))).removeprefix("torch.")
    if chosen != dtype:
        raise SettingsError(
            f"this worker would run the model in {chosen}, the flow's process in {dtype}",
            where="model.dtype=auto",
            cure=f"--set model.dtype={dtype}",
        )
    return language_model(model)
