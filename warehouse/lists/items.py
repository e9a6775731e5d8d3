"""What can be listed: a feature, known by its SAE's weights, or an operator, known by its key."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ato.errors import InputError
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_names import FeatureName, feature_name
from warehouse.storage.warehouse import Warehouse
from warehouse.tables.lists import FEATURE, OPERATOR

_FORM = "write a feature as 12/658, L12/658 or KEY/658, an operator as its key"

SAES = """select sae, layer, d_sae, weights_hash, true as judged from saes where collection = $collection
union all
select sae, layer, d_sae, weights_hash, false from studied_saes
where collection = $collection and sae not in (select sae from saes where collection = $collection)
order by layer, sae"""
OPERATORS = "select operator from operators where collection = ?"


@dataclass(frozen=True)
class Item:
    """A feature or an operator."""

    kind: str
    weights_hash: str | None = None
    """Of a feature's SAE."""
    feature_id: int | None = None
    sae: str | None = None
    """Key of the SAE where the feature was named, to be read where the weights are not."""
    layer: int | None = None
    collection: str | None = None
    """Of an operator; features are known in all."""
    operator: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it this item and no other."""
        return self.kind, self.weights_hash, self.feature_id, self.collection, self.operator

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns of ``list_changes``."""
        names = ("kind", "weights_hash", "feature_id", "sae", "layer", "collection", "operator")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return str(self.operator) if self.kind == OPERATOR else f"{self.sae}/{self.feature_id}"


def find_items(warehouse: Warehouse, collection: str, names: Iterable[str]) -> list[Item]:
    """The items of these names, in order, each once.

    Args:
        warehouse: with the collection.
        collection: whose SAEs and operators are named.
        names: ``12/658`` or ``L12/658`` (feature 658 of the SAE of layer 12), ``KEY/658`` (of the SAE with that key, also of
            one that a study trained), or the key of an operator.

    Raises:
        InputError: a name that cannot be read or that nothing has.
    """
    names = list(names)
    saes = rows(warehouse, SAES, {"collection": collection}) if any("/" in name for name in names) else []
    operators = {row["operator"] for row in rows(warehouse, OPERATORS, [collection])} if names else set()
    found: dict[tuple[object, ...], Item] = {}
    for name in names:
        named = feature_name(name) if "/" in name else None
        item = _feature(collection, saes, named) if named else _operator(collection, operators, name.strip())
        found.setdefault(item.identity, item)
    return list(found.values())


def _feature(collection: str, saes: list[dict[str, Any]], named: FeatureName) -> Item:
    judged = [one for one in saes if one["judged"]]
    if named.sae is not None:
        own = [one for one in saes if one["sae"] == named.sae]
    else:
        own = [one for one in judged if one["layer"] == named.layer]
    if len(own) != 1:
        known = ", ".join(one["sae"] for one in own or judged)
        what = (
            f"no SAE {named.sae!r}" if named.sae else f"layer {named.layer} has {len(own) or 'no'} SAE{'s' * bool(own)}"
        )
        raise InputError(what, where=collection, cure=f"name one: {known or 'none yet, run `ato run saes`'}")
    (one,) = own
    if named.feature_id >= one["d_sae"]:
        what = f"{one['sae']} has no feature {named.feature_id}"
        raise InputError(what, where=collection, cure=f"use 0 to {one['d_sae'] - 1}")
    return Item(FEATURE, one["weights_hash"], named.feature_id, one["sae"], one["layer"])


def _operator(collection: str, operators: set[str], name: str) -> Item:
    if name not in operators:
        raise InputError(f"no feature and no operator {name!r}", where=collection, cure=_FORM)
    return Item(OPERATOR, collection=collection, operator=name)
