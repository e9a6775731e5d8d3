"""The pass that makes a collection: all shards in this process, or parts of them by several workers at a time.

Shard records (see ``tasks.collect.shard_source``) are the same either way: whoever comes after a killed run, in one process or in
many, replays what is stored and runs the rest. A part whose worker died is given to another by Dask.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ato.residuals import Consumer, ResidualBlock, run_pass
from tasks.collect.moment_parts import gather, is_gathered, keep
from tasks.collect.moments import MomentsPass, StudyMoments
from tasks.collect.plan import CollectionPlan, make_plan, part_path
from tasks.collect.shard_source import CollectingSource
from tasks.collect.work import CollectWork
from tasks.engine.model_cache import language_model, model_replicas
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.progress import Progress
from tasks.engine.worker_precision import check_worker_precision
from tasks.settings import OperatorSettings
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
    moments_seconds: float = 0.0
    """Of the pass, in gathering moments; 0 where parts did it."""


class _Timed:
    """A consumer with the wall time that it takes of the pass."""

    def __init__(self, consumer: Consumer):
        self._consumer, self.seconds = consumer, 0.0

    def update(self, block: ResidualBlock) -> "_Timed":
        """Hand a block on."""
        started = time.monotonic()
        self._consumer.update(block)
        self.seconds += time.monotonic() - started
        return self


def collect_shards(work: CollectWork) -> Collected:
    """Run all shards here, in order; one stream feeds the writer of activations and the moments."""
    lm, settings, layers = language_model(work.model), work.settings, work.layers
    lm.check_layers(layers)
    replicas = model_replicas(work.model)
    with Progress("collect", settings.n_tokens, "tokens") as progress:
        source = CollectingSource(
            Warehouse(), work.collection, lm, settings, layers, replicas=replicas, on_tokens=progress.advance
        )
        moments = MomentsPass(source, work.operators)
        timed = _Timed(moments)
        run_pass(source, [timed])
    return Collected(source.plan, source.records, source.tokens_run, moments.moments, timed.seconds)


def share_shards(work: CollectWork, parts: int) -> Collected:
    """Let tasks run the shards, a run of consecutive ones each, after one that makes the plan and runs the pilot."""
    warehouse = Warehouse()
    (tokens_run,) = run_parts("plan", plan_shards, [work])
    plan = CollectionPlan.load(warehouse, work.collection)
    shards = split_evenly(len(plan.sequences), parts)
    tokens_run += sum(run_parts("collect", collect_part, shards, work))
    records = [record for part in shards for record in _read_records(warehouse, work.collection, part)]
    return Collected(plan, records, tokens_run, shards)


@part_task("collect, plan")
def plan_shards(work: CollectWork) -> int:
    """Write the sequences of all shards and run the pilot; returns the tokens that were run."""
    warehouse, lm, collection, settings = Warehouse(), _model_of(work), work.collection, work.settings
    lm.check_layers(work.layers)
    lm.check_attention(settings.attention_layers)
    plan = make_plan(warehouse, collection, lm, settings, work.layers)
    pilot = CollectingSource(warehouse, collection, lm, settings, work.layers, plan=plan, shards=[0])
    for _ in pilot.blocks():
        pass
    norms = pilot.records[0]["median_norm"]
    replace(plan, median_norm=norms and {int(layer): norm for layer, norm in norms.items()}).save(warehouse, collection)
    return pilot.tokens_run


@part_task("collect, part")
def collect_part(shards: range, work: CollectWork) -> int:
    """Run some of the shards, or replay them; keeps their records and moments, and returns the tokens that were run."""
    warehouse, collection = Warehouse(), work.collection
    if _is_done(warehouse, collection, work.operators, shards):
        return 0
    lm, plan, replicas = _model_of(work), CollectionPlan.load(warehouse, collection), model_replicas(work.model)
    source = CollectingSource(
        warehouse, collection, lm, work.settings, work.layers, plan=plan, shards=shards, replicas=replicas
    )
    with Progress("collect", len(shards), "shards") as progress:
        moments = gather(source, work.operators, progress)
    text = json.dumps(source.records)
    warehouse.publish_artifact(lambda path: path.write_text(text), *_records_path(collection, shards))
    keep(warehouse, collection, work.operators, shards, moments)
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


def _model_of(work: CollectWork) -> "LanguageModel":
    """The model of this worker, which must choose the precision that the collection's key was made with."""
    from ato.numerics.devices import choose_device, choose_dtype

    model = work.model
    here = choose_dtype(model.dtype, choose_device(model.device))
    check_worker_precision(here, work.dtype, does="run the model", setting="model.dtype")
    return language_model(model)
