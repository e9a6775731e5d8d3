"""Residuals of a finished collection: from the stored activations, or by running the model again where none are stored."""

from collections.abc import Iterable, Sequence
from typing import Any

from ato.errors import InputError
from ato.residuals import ResidualSource
from tasks.engine.model_cache import check_same_model, language_model
from tasks.settings import CollectSettings, ModelSettings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse


def collection_row(warehouse: Warehouse, collection: str) -> dict[str, Any]:
    """The row of a collection in the table ``collections``.

    Raises:
        InputError: there is no such complete collection.
    """
    found = rows(warehouse, "from collections where collection = ?", [collection])
    if not found:
        raise InputError(
            f"no complete collection {collection!r}", where=warehouse.root, cure="run `ato run collect` first"
        )
    return found[0]


def residual_source(
    warehouse: Warehouse, collection: dict[str, Any], model: ModelSettings, attention_layers: Iterable[int] = ()
) -> ResidualSource:
    """The residual source of a collection, stored if it was stored, else live with the same tokens left out.

    Args:
        collection: row of ``collections``.
        model: must be the collection's.
        attention_layers: blocks of the model whose attention comes along, as ``block.attended``.

    Raises:
        MismatchError: the collection was made with another model.
        LayerError: attention of a block that was not collected.
        SettingsError: live attention of a model that does not give its weights.
    """
    import json

    from warehouse.datasets.sequences import stored_sequences
    from warehouse.datasets.stored_source import StoredSource

    check_same_model(collection, model)
    settings = json.loads(collection["settings"])
    if settings["store_activations"]:
        return StoredSource(warehouse, collection["collection"], attention_layers)
    from ato.residuals.exclusion import ExclusionPolicy
    from ato.residuals.live import LiveSource

    policy = ExclusionPolicy(
        skip_special=settings["skip_special"],
        skip_first=settings["skip_first"],
        max_norm_multiple=settings["max_norm_multiple"],
    )
    return LiveSource(
        language_model(model),
        stored_sequences(warehouse, collection["collection"]),
        tuple(collection["layers"]),
        n_folds=collection["n_folds"],
        batch_size=settings["batch_size"],
        policy=policy,
        median_norm=dict(zip(collection["layers"], collection["median_norm"])) or None,
        attention_layers=attention_layers,
        attention_top_k=settings["attention_top_k"],
        site=settings["site"],
    )


def shard_source(
    warehouse: Warehouse,
    collection: dict[str, Any],
    model: ModelSettings,
    settings: CollectSettings,
    attention_layers: Iterable[int] = (),
    shards: Sequence[int] | None = None,
) -> ResidualSource:
    """Residuals of a finished collection, a block a shard, as in the pass that made it.

    Args:
        collection: row of ``collections``.
        model: must be the collection's.
        settings: that it was made with.
        attention_layers: blocks of the model whose attention comes along; they must be among the collected ones.
        shards: numbers of the shards; default all.

    Raises:
        MismatchError: the collection was made with another model.
        LayerError: attention of a block that was not collected.
    """
    from tasks.collect.plan import plan_of
    from tasks.collect.shard_source import CollectingSource
    from warehouse.datasets.stored_source import StoredSource

    check_same_model(collection, model)
    key = collection["collection"]
    if settings.store_activations:
        return StoredSource(warehouse, key, attention_layers, shards)
    plan, layers = plan_of(warehouse, collection), tuple(collection["layers"])
    return CollectingSource(warehouse, key, language_model(model), settings, layers, plan=plan, shards=shards)
