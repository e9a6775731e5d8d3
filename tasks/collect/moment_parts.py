"""Moments gathered in parts by several workers and merged as a tree; what travels is the numbers of shards.

A part is a run of shards. Its moments lie beside the records of the collection until the merged ones are published,
so a run that was killed finds the parts that it had, and ``ato gc`` removes those of a collection that is complete.
"""

from collections.abc import Sequence

from ato.moments import Moments
from ato.residuals import ResidualSource, run_pass
from tasks.collect.moments import (
    MomentsPass,
    StudyMoments,
    moments_stage,
    needs_permutation_null,
    publish_moments,
    write_moments,
)
from tasks.collect.plan import forget_parts, part_path, plan_of
from tasks.collect.sources import shard_source
from tasks.collect.work import CollectWork
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.progress import Progress
from tasks.engine.stage import Stage
from tasks.settings import OperatorSettings
from warehouse.catalog.lookups import collection_row
from warehouse.storage.warehouse import FileRecord, Warehouse


def gather_moments(work: CollectWork, parts: int = 1) -> None:
    """The moments stage of a complete collection, from one pass over its shards, or from one of each part.

    The result of several parts is that of one to the rounding of the products (float64 for residuals of up to 256
    dimensions, float32 beyond): rows are centred and multiplied in other groups. It depends on the number of parts, not
    on which worker did which, or when.

    Args:
        parts: tasks that share the shards; 1 does all of it here.
    """
    warehouse, operators = Warehouse(), work.operators
    stage, row = moments_stage(warehouse, work.collection, operators), collection_row(warehouse, work.collection)
    if parts > 1:
        shards = split_evenly(len(plan_of(warehouse, row).sequences), parts)
        run_parts("moments", gather_part, shards, work)
        merge_parts(stage, shards, operators)
        return
    source = shard_source(work)
    moments = MomentsPass(source, operators)
    with Progress("moments", row.n_kept, "tokens") as progress:
        run_pass(source, [moments], layers=sorted(operators.layers), on_block=lambda block: progress.advance(block.n))
    publish_moments(stage, moments.moments)


@part_task("moments, part")
def gather_part(shards: range, work: CollectWork) -> None:
    """The moments of some shards of a complete collection, unless they are there."""
    warehouse = Warehouse()
    if is_gathered(warehouse, work.collection, work.operators, shards):
        return
    with Progress("moments", len(shards), "shards") as progress:
        moments = gather(shard_source(work, shards), work.operators, progress)
    keep(warehouse, work.collection, work.operators, shards, moments)


def gather(source: ResidualSource, operators: OperatorSettings, progress: Progress) -> StudyMoments:
    """The moments of the shards that a source yields."""
    moments = MomentsPass(source, operators)
    run_pass(source, [moments], layers=sorted(operators.layers), on_block=lambda block: progress.advance())
    return moments.moments


def keep(
    warehouse: Warehouse, collection: str, operators: OperatorSettings, shards: range, moments: StudyMoments
) -> None:
    """Keep the moments of some shards for ``merge_parts``; those of the pairs come last: then ``is_gathered``."""
    if moments.permuted is not None:
        warehouse.publish_artifact(moments.permuted.save, *_path(collection, operators, shards, "-permuted"))
    warehouse.publish_artifact(moments.own.save, *_path(collection, operators, shards))


def is_gathered(warehouse: Warehouse, collection: str, operators: OperatorSettings, shards: range) -> bool:
    """Whether the moments of these shards are there, as a part of their own."""
    return bool(warehouse.storage.sizes(["/".join(["artifacts", *_path(collection, operators, shards)])]))


def merge_parts(stage: Stage, shards: Sequence[range], operators: OperatorSettings) -> None:
    """Merge the moments of consecutive runs of shards two by two, in rounds, and commit the result as the stage."""
    collection = stage.collection
    while len(shards) > 2:
        merged = list(zip(shards[::2], shards[1::2]))
        run_parts("merge", merge_part, merged, collection, operators)
        shards = [range(left.start, right.stop) for left, right in merged] + list(shards[2 * len(merged) :])
    with stage:
        (files,) = run_parts("merge", write_merged, [tuple(shards)], collection, operators)
        stage.add(*files)
    forget_parts(stage.warehouse, collection, f"{stage.key}-")


@part_task("merge moments")
def merge_part(shards: tuple[range, range], collection: str, operators: OperatorSettings) -> None:
    """The moments of two runs of shards become those of one."""
    whole = range(shards[0].start, shards[1].stop)
    if not is_gathered(Warehouse(), collection, operators, whole):
        keep(Warehouse(), collection, operators, whole, _merged(shards, collection, operators))


@part_task("write merged moments")
def write_merged(shards: Sequence[range], collection: str, operators: OperatorSettings) -> list[FileRecord]:
    """The moments of all shards, given the last one or two runs of them, as the files of their stage."""
    stage = moments_stage(Warehouse(), collection, operators)
    return write_moments(stage, _merged(shards, collection, operators))


def _merged(shards: Sequence[range], collection: str, operators: OperatorSettings) -> StudyMoments:
    warehouse = Warehouse()

    def merged(suffix: str = "") -> Moments:
        first, *others = (warehouse.artifact_path(*_path(collection, operators, part, suffix)) for part in shards)
        return sum((Moments.load(other) for other in others), Moments.load(first))

    return StudyMoments(merged(), merged("-permuted") if needs_permutation_null(operators) else None)


def _path(collection: str, operators: OperatorSettings, shards: range, suffix: str = "") -> tuple[str, ...]:
    key = moments_stage(Warehouse(), collection, operators).key
    return part_path(collection, f"{key}-{shards.start:05d}-{shards.stop:05d}{suffix}.safetensors")
