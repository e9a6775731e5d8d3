"""What stands on one side of a comparison, and how an address names it: ``KIND:ID`` or ``KIND:ID@COLLECTION``.

The collection may be left out: then it is the one that the reader is in, if that has it, else the only one that does.
Kinds and their ids are in ``warehouse.catalog.compared.kinds``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ato.errors import InputError
from warehouse.catalog.compared.kinds import KINDS, Kind
from warehouse.catalog.feature_names import feature_name
from warehouse.catalog.literals import filled

Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
"""Gives the rows of a statement."""
LISTED = 4
"""Names that an error tells at most."""


@dataclass(frozen=True)
class Side:
    """One thing of a collection."""

    kind: str
    collection: str
    id: str
    """As in an address."""
    title: str
    values: Row = field(default_factory=dict)
    """What its statements are filled with, the collection too."""

    def address(self, collection: str | None = None) -> str:
        """Its name in addresses; shorter for a reader who is in this collection."""
        at = "" if collection == self.collection or self.kind == "collection" else f"@{self.collection}"
        return f"{self.kind}:{self.id}{at}"


def kind_of(text: str) -> str | None:
    """The kind that an address names; None if it names none."""
    kind, colon, _ = text.partition(":")
    return kind if colon and kind in KINDS else None


def resolve(text: str, collection: str | None, ask: Ask, *, kind: str | None = None) -> Side:
    """The side that an address names.

    Args:
        text: see the module.
        collection: where the reader is; None: nowhere.
        ask: gives the rows of a statement.
        kind: of an address that names none, such as ``L12/345``.

    Raises:
        InputError: there is no such thing, or there are several.
    """
    named = kind_of(text)
    if named is None and kind is None:
        examples = ", ".join(f"{one.name}:{one.example}" for one in KINDS.values())
        raise InputError(f"{text!r} names no kind of thing", cure=f"write KIND:ID, such as {examples}")
    of = KINDS[named or str(kind)]
    id_, where = text.partition(":")[2] if named else text, None
    if of.name != "collection":
        id_, where = _split_collection(of, id_, collection, ask)
    if of.name == "feature":
        return _feature(id_, where, collection, ask)
    also = " or name = $id or entity_id = $id" if of.name == "entity" else ""
    row = _only(of, id_, ask(filled(f"from ({of.known}) where id = $id{also}", id=id_)), where, collection)
    values = {key: value for key, value in row.items() if key != "id"}
    title = f"{row['shown']}, {row['id']}" if of.name == "operator" else str(row["shown"])
    return Side(of.name, row["collection"], row["id"], title, values)


def pair(left: str, right: str, collection: str | None, ask: Ask) -> tuple[Side, Side]:
    """Both sides; the right one may leave out its kind.

    Raises:
        InputError: one is not there, or they are of different kinds.
    """
    first = resolve(left, collection, ask)
    second = resolve(right, collection, ask, kind=first.kind)
    if first.kind != second.kind:
        nouns = [KINDS[side.kind].noun for side in (first, second)]
        raise InputError(f"left is of kind {nouns[0]}, right of kind {nouns[1]}", cure="choose two of one kind")
    return first, second


def values(left: Side, right: Side) -> Row:
    """What the statements of a comparison are filled with: ``left_collection``, ``right_collection`` and so on."""
    sides = {"left": left, "right": right}
    return {f"{name}_{key}": value for name, side in sides.items() for key, value in side.values.items()}


def fill(sql: str, left: Side, right: Side) -> str:
    """A statement of a comparison with the values of both sides."""
    return filled(sql, **values(left, right))


def _split_collection(kind: Kind, text: str, collection: str | None, ask: Ask) -> tuple[str, str | None]:
    """The id, and the collection after the last ``@`` if there is one of that name; names of prompts may have an ``@`` too."""
    id_, at, where = text.rpartition("@")
    if at and (where == collection or ask(filled("select 1 from collections where collection = $where", where=where))):
        return id_, where
    if at and kind.name not in ("entity", "graph"):
        raise InputError(f"no collection {where!r}", where=text, cure="name one that there is, or leave it out")
    return text, None


def _feature(id_: str, where: str | None, collection: str | None, ask: Ask) -> Side:
    named = feature_name(id_)
    if named is None or (named.layer is None and named.sae is None):
        raise InputError(f"cannot read the feature {id_!r}", cure="write 12/345, L12/345 or SAE/345")
    known, layer = KINDS["feature"].known, named.layer
    if layer is not None:
        sql = f"from ({known}) where layer = $layer and collection = $within and place < 3 order by place, id"
        found = ask(filled(sql, layer=layer, within=where or collection))
        found = [
            row for row in found if row["place"] == found[0]["place"]
        ]  # those of a study only where there are no others
        if len(found) > 1:
            told = ", ".join(row["sae"] for row in found[:LISTED])
            raise InputError(
                f"layer {layer} has {len(found)} SAEs", where=where or collection, cure=f"name one: {told}"
            )
    else:
        found = ask(filled(f"from ({known}) where id = $id", id=named.sae))
    row, feature_id = _only(KINDS["sae"], named.sae or f"L{layer}", found, where, collection), named.feature_id
    if row["d_sae"] is not None and feature_id >= row["d_sae"]:
        raise InputError(f"{row['sae']} has no feature {feature_id}", cure=f"use 0 to {row['d_sae'] - 1}")
    values = {name: row[name] for name in ("collection", "sae", "layer")} | {"feature_id": feature_id}
    title = f"feature {feature_id} of {row['sae']}"
    return Side("feature", row["collection"], f"{row['sae']}/{feature_id}", title, values)


def _only(kind: Kind, id_: str, rows: list[Row], where: str | None, collection: str | None) -> Row:
    """The row that is meant: of the named collection, else of the reader's, else the only one."""
    here = [row for row in rows if row["collection"] == (where or collection)]
    rows = here if here or where else rows
    if not rows:
        in_ = where or "any collection"
        raise InputError(f"no {kind.noun} {id_!r}", where=in_, cure=f"name one that there is, or run `{kind.command}`")
    collections = sorted({row["collection"] for row in rows})
    if len(collections) > 1:
        told = ", ".join(collections[:LISTED])
        raise InputError(f"{id_!r} is in {len(collections)} collections", cure=f"write {id_}@COLLECTION, one of {told}")
    if len(rows) > 1:
        told = ", ".join(sorted(row["id"] for row in rows)[:LISTED])
        raise InputError(f"{len(rows)} {kind.plural} are called {id_!r}", cure=f"write one of {told}")
    return rows[0]
