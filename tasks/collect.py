"""Stage ``collect``: corpus to sequences, activations and moments, the model run once over each token."""

import json
from datetime import UTC, datetime
from pathlib import PurePath

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.residuals import share_pass
from tasks.collecting import CollectingSource
from tasks.models import check_layers, language_model, model_replicas
from tasks.moments import MomentsPass, attention_layers, moments_stage, publish_moments
from tasks.progress import Progress, say
from tasks.settings import CollectSettings, ModelSettings, OperatorSettings
from tasks.sources import collection_row, residual_source
from tasks.stage import Stage, alone
from warehouse.store import Warehouse


@task(name="collect", cache_policy=NO_CACHE)
def collect_residuals(
    model: ModelSettings, settings: CollectSettings, layers: list[int], operators: OperatorSettings
) -> str:
    """Run the model over the corpus and keep residuals and moments; returns the collection's key.

    A collection that exists is not made again; moments of pairs that it lacks are then read from what is stored.
    """
    warehouse = Warehouse()
    stage = _collection_stage(warehouse, model, settings, layers)
    check_layers(operators.layers, tuple(layers), where="collect.layers")
    with alone(warehouse, "collect", stage.key):
        _bring_up_to_date(stage, model, settings, layers, operators)
    return stage.key


def _bring_up_to_date(
    stage: Stage, model: ModelSettings, settings: CollectSettings, layers: list[int], operators: OperatorSettings
) -> None:
    """Collect, and gather the moments that are missing."""
    warehouse = stage.warehouse
    if not stage.skip():
        _collect(stage, model, settings, layers, operators)
    missing = moments_stage(warehouse, stage.key, operators)
    if not missing.complete:
        row = collection_row(warehouse, stage.key)
        source = residual_source(warehouse, row, model, attention_layers(operators))
        moments = MomentsPass(source, operators)
        with Progress("moments", row["n_kept"], "tokens") as progress:
            share_pass(
                source, [moments], layers=sorted(operators.layers), on_block=lambda block: progress.advance(block.n)
            )
        publish_moments(missing, moments.moments)


def _collection_stage(
    warehouse: Warehouse, model: ModelSettings, settings: CollectSettings, layers: list[int]
) -> Stage:
    from ato.devices import choose_device, choose_dtype
    from ato.models import identify
    from warehouse.corpora import corpus_hash

    identity = identify(model.name, model.revision)
    dtype = choose_dtype(model.dtype, choose_device(model.device))
    own = settings.model_dump() | {
        "layers": sorted(layers),
        "model": identity.model,
        "dtype": str(dtype).removeprefix("torch."),
        "attention": model.attention,
    }
    corpus = PurePath(settings.corpus.removeprefix("hub:")).stem or "corpus"
    slug = f"{PurePath(model.name).name}-{corpus}-{_short(settings.n_tokens)}"
    return Stage(
        warehouse, "collect", slug,
        settings=own, inputs=[identity.weights_hash, corpus_hash(settings.corpus, settings.text_field)],
    )  # fmt: skip


def _short(n: int) -> str:
    return f"{n // 1_000_000}m" if n >= 10_000_000 else f"{n // 1000}k" if n >= 1000 else str(n)


def _collect(
    stage: Stage, model: ModelSettings, settings: CollectSettings, layers: list[int], operators: OperatorSettings
) -> None:
    """One live pass, shared by the writer of activations and the moments."""
    lm = language_model(model)
    lm.check_layers(layers)
    with stage, Progress("collect", settings.n_tokens, "tokens") as progress:
        source = CollectingSource(
            stage, lm, settings, tuple(sorted(layers)), replicas=model_replicas(model), on_tokens=progress.advance
        )
        moments = MomentsPass(source, operators)
        share_pass(source, [moments])
        source.finish()
        facts = source.facts()
        weights_hash, corpus_hash = stage.inputs
        stage.write("collections", [facts | {
            "collection": stage.key, "model": lm.identity.model, "revision": lm.identity.revision,
            "weights_hash": weights_hash, "corpus": settings.corpus, "corpus_hash": corpus_hash,
            "seq_len": settings.seq_len, "dtype": stage.settings["dtype"],
            "n_layers": lm.n_layers, "layers": source.layers, "split_seed": settings.split_seed,
            "n_folds": settings.n_folds, "settings": json.dumps(stage.settings, sort_keys=True),
            "created_at": datetime.now(UTC),
        }])  # fmt: skip
        stage.tokens_run = source.tokens_run
    publish_moments(moments_stage(stage.warehouse, stage.key, operators), moments.moments)
    source.forget_records()
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in facts["dropped_by_reason"].items())
    say(
        "collect",
        f"{stage.key}: {facts['n_tokens']:,} tokens of {facts['n_documents']} documents, dropped {dropped or 'none'}",
    )
    if facts["fewer_tokens_than_dimensions"]:
        say(
            "collect",
            f"fewer train tokens than the {facts['d_model']} dimensions: fits are flagged, in-sample numbers mean little",
        )
