"""Residuals of a finished collection: from the stored activations, or by running the model again where none are stored."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ato.residuals import ResidualSource
from tasks.collect.work import CollectWork, attention_layers
from tasks.engine.model_cache import check_same_model, language_model
from tasks.engine.study import Study
from warehouse.catalog.lookups import collection_row
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ato.models import LanguageModel


def residual_source(study: Study, attention_layers: Iterable[int] = ()) -> ResidualSource:
    """The residuals of a study's collection, stored if they were stored, else live with the same tokens left out.

    Args:
        attention_layers: blocks of the model whose attention comes along, as ``block.attended``.

    Raises:
        MismatchError: the collection was made with another model.
        LayerError: attention of a block that was not collected.
        SettingsError: live attention of a model that does not give its weights.
    """
    from warehouse.datasets.sequences import stored_sequences
    from warehouse.datasets.stored_source import StoredSource

    study.check_same_model()
    row, settings = study.row, study.row.made_with
    if settings["store_activations"]:
        return StoredSource(study.warehouse, study.collection, attention_layers)
    from ato.residuals.live import LiveSource

    return LiveSource(
        language_model(study.model),
        stored_sequences(study.warehouse, study.collection),
        tuple(row.layers),
        n_folds=row.n_folds,
        batch_size=settings["batch_size"],
        policy=study.exclusion_policy,
        median_norm=row.median_norms or None,
        attention_layers=attention_layers,
        attention_top_k=settings["attention_top_k"],
        site=settings["site"],
    )


def site_source(study: Study, layer: int, site: str | None = None, target_site: str | None = None) -> ResidualSource:
    """Values of one layer at any site, or pairs of two sites, see ``SitePairs``; the model runs where they are not stored.

    At other sites than the collection's no token is left out for its norm: the norms of the pilot are of that site.

    Args:
        site: that is read; None is the collection's.
        target_site: that goes beside it in every row.

    Raises:
        MismatchError: the collection was made with another model.
        ModelError: a block has no such site.
    """
    row = study.row
    if target_site is None and site in (None, row.site):
        return residual_source(study)
    study.check_same_model()
    lm = language_model(study.model)
    if target_site is None:
        return live_source(study, lm, [layer], site or row.site)
    from ato.residuals.site_pairs import SitePairs
    from warehouse.datasets.sequences import stored_sequences

    sequences = stored_sequences(study.warehouse, study.collection)
    return SitePairs(lm, sequences, [layer], sites=(site or row.site, target_site), **_reading(study))


def live_source(study: Study, lm: "LanguageModel", layers: Sequence[int], site: str) -> ResidualSource:
    """Values at any site of a model that reads the texts of a study; no token is left out for its norm."""
    from ato.residuals.live import LiveSource
    from warehouse.datasets.sequences import stored_sequences

    sequences = stored_sequences(study.warehouse, study.collection)
    return LiveSource(lm, sequences, layers, site=site, **_reading(study))


def _reading(study: Study) -> dict[str, Any]:
    row = study.row
    return {"n_folds": row.n_folds, "batch_size": row.made_with["batch_size"], "policy": study.exclusion_policy}


def shard_source(work: CollectWork, shards: Sequence[int] | None = None) -> ResidualSource:
    """Residuals of a finished collection, a block a shard, as in the pass that made it.

    Args:
        work: that made it; the attention that its operators need comes along.
        shards: numbers of the shards; default all.

    Raises:
        MismatchError: the collection was made with another model.
        LayerError: attention of a block that was not collected.
    """
    from tasks.collect.plan import plan_of
    from tasks.collect.shard_source import CollectingSource
    from warehouse.datasets.stored_source import StoredSource

    warehouse = Warehouse()
    row = collection_row(warehouse, work.collection)
    check_same_model(row, work.model)
    if work.settings.store_activations:
        return StoredSource(warehouse, work.collection, attention_layers(work.operators), shards)
    plan, lm = plan_of(warehouse, row), language_model(work.model)
    return CollectingSource(warehouse, work.collection, lm, work.settings, tuple(row.layers), plan=plan, shards=shards)
