"""Stage ``collect``: corpus to sequences, activations and moments, the model run once over each token."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import PurePath

from ato.models import identify
from tasks.collect.moment_parts import gather_moments, merge_parts
from tasks.collect.moments import StudyMoments, moments_stage, publish_moments
from tasks.collect.parts import collect_shards, share_shards
from tasks.collect.plan import forget_parts
from tasks.collect.reading import chat_reader, check_text
from tasks.collect.shard_source import facts_of, files_of
from tasks.collect.work import CollectWork
from tasks.engine.exclusive import exclusive
from tasks.engine.looking import stage_task, work_ahead
from tasks.engine.progress import phase, say
from tasks.engine.stage import Stage, checked_together
from tasks.engine.study import Study, check_layers
from tasks.settings import CollectSettings, ModelSettings, OperatorSettings
from warehouse.datasets.corpus_files import corpus_label, short_name
from warehouse.storage.warehouse import Warehouse


@stage_task("collect")
def collect_residuals(
    model: ModelSettings, settings: CollectSettings, layers: list[int], operators: OperatorSettings, parts: int = 1
) -> str:
    """Run the model over the corpus and keep residuals and moments; returns the collection's key.

    A collection that exists is not made again; moments of pairs that it lacks are then read from what is stored.

    Args:
        parts: tasks that share the shards; 1 does all of it here. The activations are the same, byte for byte.
    """
    with phase("collect", "hashing model and corpus"):
        stage = _collection_stage(Warehouse(), model, settings, layers)
    check_layers(operators.layers, tuple(layers), where="collect.layers")
    work = CollectWork(stage.key, model, settings, tuple(sorted(layers)), operators, stage.settings["dtype"])
    with exclusive(stage.warehouse, "collect", stage.key):
        if not stage.skip():
            _collect(stage, work, parts)
        if not moments_stage(stage.warehouse, stage.key, operators).complete:
            gather_moments(work, parts)
    return stage.key


@stage_task("moments")
def gather_missing_moments(study: Study, operators: OperatorSettings, parts: int = 1) -> None:
    """The moments of pairs that a complete collection lacks, whatever settings it was made for.

    Args:
        study: of the collection.
        operators: name the pairs.
        parts: tasks that share the shards.

    Raises:
        LayerError: a layer was not collected.
        MismatchError: the collection was made with another model.
    """
    study.check_layers(operators.layers)
    row = study.row
    work = CollectWork(study.collection, study.model, study.collecting, tuple(row.layers), operators, row.dtype)
    with exclusive(study.warehouse, "collect", study.collection):
        if not moments_stage(study.warehouse, study.collection, operators).complete:
            work_ahead()
            gather_moments(work, parts)


def _collection_stage(
    warehouse: Warehouse, model: ModelSettings, settings: CollectSettings, layers: list[int]
) -> Stage:
    from ato.numerics.devices import choose_device, choose_dtype
    from warehouse.datasets.corpora import corpus_hash

    identity = identify(model.name, model.revision)
    dtype = choose_dtype(model.dtype, choose_device(model.device))
    own = settings.model_dump(exclude={"strata"}) | {
        "layers": sorted(layers),
        "model": identity.model,
        "dtype": str(dtype).removeprefix("torch."),
        "attention": model.attention,
    }
    slug = f"{PurePath(model.name).name}-{short_name(settings.corpus)}-{_short(settings.n_tokens)}"
    return Stage(
        warehouse,
        "collect",
        slug,
        settings=own,
        inputs=[identity.weights_hash, corpus_hash(settings.corpus, chat_reader(model, settings))],
        version=2 if settings.prepend_bos else 1,  # 2: one BOS where the text has its own
    )


def _short(n: int) -> str:
    return f"{n // 1_000_000}m" if n >= 10_000_000 else f"{n // 1000}k" if n >= 1000 else str(n)


def _collect(stage: Stage, work: CollectWork, parts: int) -> None:
    """One live pass, shared by the writer of activations and the moments: in one process they are one batch."""
    model, settings = work.model, work.settings
    with checked_together() if parts == 1 else nullcontext():
        with stage:
            with phase("collect", "looking through the text"):
                check_text(model, settings, work.operators)
            made = collect_shards(work) if parts == 1 else share_shards(work, parts)
            stage.add(*files_of(made.plan, made.records))
            facts = facts_of(made.plan, made.records, settings)
            identity, (weights_hash, corpus_hash) = identify(model.name, model.revision), stage.inputs
            stage.write(
                "collections",
                [
                    facts
                    | {
                        "collection": stage.key,
                        "model": identity.model,
                        "revision": identity.revision,
                        "weights_hash": weights_hash,
                        "corpus": corpus_label(settings.corpus),
                        "corpus_hash": corpus_hash,
                        "seq_len": settings.seq_len,
                        "dtype": work.dtype,
                        "layers": list(work.layers),
                        "split_seed": settings.split_seed,
                        "n_folds": settings.n_folds,
                        "settings": json.dumps(stage.settings, sort_keys=True),
                        "created_at": datetime.now(UTC),
                    }
                ],
            )
            stage.tokens_run = made.tokens_run
        moments = moments_stage(stage.warehouse, stage.key, work.operators)
        if isinstance(made.moments, StudyMoments):
            stage.charge(-made.moments_seconds)
            moments.charge(made.moments_seconds)
            publish_moments(moments, made.moments)
        else:
            merge_parts(moments, made.moments, work.operators)
    forget_parts(stage.warehouse, stage.key)
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in facts["dropped_by_reason"].items())
    say(
        "collect",
        f"{stage.key}: {facts['n_tokens']:,} tokens of {facts['n_documents']} documents, dropped {dropped or 'none'}",
    )
    if facts["fewer_tokens_than_dimensions"]:
        say(
            "collect",
            f"fewer train tokens than the {facts['d_model']} dimensions: in-sample numbers are uninformative",
        )
