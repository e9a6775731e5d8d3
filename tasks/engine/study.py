"""One study of a collection: what all of its stages share, made once by a flow and handed down."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from ato.errors import LayerError
from ato.residuals.exclusion import ExclusionPolicy
from tasks.engine.model_cache import check_same_model
from tasks.engine.stage import Stage
from tasks.settings import CollectSettings, JacobianSettings, ModelSettings
from warehouse.catalog.lookups import CollectionRow, collection_row
from warehouse.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Study:
    """A complete collection and the model that made it.

    The warehouse and the collection's row are read when they are first asked for, and kept. They do not travel: a
    worker that is sent a study reads its own.
    """

    collection: str
    """Key of the collection."""
    model: ModelSettings
    strata: tuple[str, ...] = ()
    """Fields of the corpus's records that say what a document is about, see ``collect.strata``."""
    jacobians: JacobianSettings = field(default_factory=JacobianSettings)
    """How the Jacobians are measured that operators may be made of."""

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse of this process, for this collection."""
        return Warehouse(only=self.collection)

    @cached_property
    def row(self) -> CollectionRow:
        """The row of the collection; InputError if it is not complete."""
        return collection_row(self.warehouse, self.collection)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def collecting(self) -> CollectSettings:
        """The settings that the collection was made with."""
        own = CollectSettings.model_fields
        return CollectSettings.model_validate({name: v for name, v in self.row.made_with.items() if name in own})

    @property
    def exclusion_policy(self) -> ExclusionPolicy:
        """Which tokens the collection leaves out."""
        rules = self.row.made_with
        return ExclusionPolicy(rules["skip_special"], rules["skip_first"], rules["max_norm_multiple"])

    def stage(
        self, name: str, slug: str, *, settings: dict[str, Any], inputs: list[str] | None = None, version: int = 1
    ) -> Stage:
        """A stage of this study; inputs by default the collection alone."""
        inputs = [self.collection] if inputs is None else inputs
        return Stage(
            self.warehouse,
            name,
            slug,
            settings=settings,
            inputs=inputs,
            collection=self.collection,
            version=version,
        )

    def check_same_model(self) -> None:
        """Raise MismatchError unless the settings name the model that the collection was made with."""
        check_same_model(self.row, self.model)

    def check_layers(self, wanted: Collection[int], where: str = "") -> None:
        """Raise LayerError naming the layers that were not collected."""
        check_layers(wanted, self.row.layers, where=where or self.collection)


def check_layers(wanted: Collection[int], collected: Collection[int], *, where: str) -> None:
    """Raise LayerError naming the layers that a collection lacks."""
    if missing := sorted(set(wanted) - set(collected)):
        raise LayerError(
            f"layers {missing} were not collected (collected: {list(collected)})",
            where=where,
            cure="choose other layers, leaps or SAE layers, or run `ato run collect` with these settings",
        )
