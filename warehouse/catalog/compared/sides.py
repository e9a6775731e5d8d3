"""What may stand on one side of a comparison, and how an address names it: ``KIND:ID`` or ``KIND:ID@COLLECTION``.

| kind | id |
|---|---|
| ``feature`` | ``SAE/345``, or ``L12/345`` where one SAE of the collection reads layer 12 |
| ``operator``, ``sae``, ``collection`` | its key |
| ``entity`` | ``Paris (city)``, its name alone where one entity has it, or its id |
| ``graph`` | ``PROMPT/attribution`` or ``PROMPT/transport`` |

The collection may be left out: then it is the one that the reader is in, if that has it, else the only one that does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ato.errors import InputError
from warehouse.catalog.literals import filled

Ask = Callable[[str], list[dict[str, Any]]]
"""Gives the rows of a statement."""

SHOWN = 300
"""Of a kind in one list; any other can be named."""


@dataclass(frozen=True)
class Kind:
    """A kind of thing that can be compared."""

    name: str
    """In addresses."""
    plural: str
    known: str
    """Select of ``collection, id, shown`` and what statements need: all that there is, of features their SAEs."""
    offered: str
    """Select of ``id, shown`` in ``$collection``, the most interesting first."""
    example: str
    command: str
    """That makes the first one."""


@dataclass(frozen=True)
class Side:
    """One thing of a collection."""

    kind: str
    collection: str
    id: str
    """As in an address."""
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    """What its statements are filled with, the collection too."""

    def address(self, collection: str | None = None) -> str:
        """Its name in addresses; shorter for a reader who is in this collection."""
        at = "" if collection == self.collection or self.kind == "collection" else f"@{self.collection}"
        return f"{self.kind}:{self.id}{at}"


_SAES = """select collection, sae, layer, d_sae, 1 as place from saes
union all
select s.collection, s.sae, s.layer, s.d_sae, 2 from studied_saes as s anti join saes using (collection, sae)
union all
select distinct c.other_collection, c.sae, c.target_layer, s.d_sae, 3
from comparisons as c
left join saes as s on s.collection = c.collection and s.sae = c.sae
anti join saes as o on o.collection = c.other_collection and o.sae = c.sae
union all
select distinct l.collection, l.sae, l.layer, null, 4
from labelled_features as l
anti join saes using (collection, sae)
anti join studied_saes using (collection, sae)"""
"""SAEs, those of a study, those that judged another model, and neurons with labels."""

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "feature",
            "features",
            f"select collection, sae as id, sae as shown, sae, layer, d_sae from ({_SAES})",
            f"""select sae || '/' || feature_id as id,
    'L' || layer || '/' || feature_id || coalesce(' · ' || array_to_string(list_transform(top_tokens[:3], lambda t: trim(t)), ', '), '')
        as shown
from latest_feature_scores
where collection = $collection
order by selected desc, rank nulls last, layer, sae, feature_id
limit {SHOWN}""",
            "feature:L12/345",
            "ato run features",
        ),
        Kind(
            "operator",
            "operators",
            "select collection, operator as id, method || ' ' || source_layer || ' → ' || target_layer as shown, operator, source_layer, "
            "target_layer, method, position_policy from operators",
            """select operator as id, method || ' ' || source_layer || ' → ' || target_layer || ' · ' || operator as shown
from operators
where collection = $collection
order by method <> 'ridge', target_layer - source_layer, source_layer, method, operator""",
            "operator:ridge-8-to-12-0123abcd",
            "ato run operators",
        ),
        Kind(
            "sae",
            "SAEs",
            f"select collection, sae as id, sae as shown, sae, layer from ({_SAES}) where place < 4",
            f"""select sae as id, 'L' || layer || ' · ' || sae as shown
from ({_SAES})
where collection = $collection and place < 4
order by place, layer, sae""",
            "sae:sae-layer12-0123abcd",
            "ato run saes",
        ),
        Kind(
            "collection",
            "collections",
            "select collection, collection as id, collection as shown from collections",
            """select collection as id, collection as shown
from collections
order by collection <> $collection, created_at desc, collection""",
            "collection:smollm2-135m-sotu-60k-0123abcd",
            "ato run collect",
        ),
        Kind(
            "entity",
            "entities",
            """select collection, name || ' (' || entity_type || ')' as id, name || ' (' || entity_type || ')' as shown, name, entity_id
from entity_knowledge""",
            f"""select name || ' (' || entity_type || ')' as id, name || ' (' || entity_type || ')' as shown
from entity_knowledge
where collection = $collection
order by label is null, label in ('invented', 'not_asked'), popularity desc nulls last, name, entity_id
limit {SHOWN}""",
            "entity:Paris (city)",
            "ato run entities --profile demo-entities",
        ),
        Kind(
            "graph",
            "graphs",
            """select collection, prompt || '/' || graph_kind as id, prompt || ', ' || graph_kind as shown, graph_set, prompt, graph_kind
from graph_summary""",
            f"""select prompt || '/' || graph_kind as id, prompt || '/' || graph_kind as shown
from graph_summary
where collection = $collection
order by graph_kind, prompt
limit {SHOWN}""",
            "graph:capital/attribution",
            "ato run graphs --profile demo-graphs",
        ),
    )
}


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
        example = ", ".join(one.example for one in KINDS.values())
        raise InputError(f"{text!r} names no kind of thing", cure=f"write KIND:ID, such as {example}")
    of = KINDS[named or str(kind)]
    id_ = text.partition(":")[2] if named else text
    id_, where = _split_collection(id_, collection, ask) if of.name != "collection" else (id_, None)
    return _feature(id_, where, collection, ask) if of.name == "feature" else _other(of, id_, where, collection, ask)


def pair(left: str, right: str, collection: str | None, ask: Ask) -> tuple[Side, Side]:
    """Both sides; the right one may leave out its kind.

    Raises:
        InputError: one is not there, or they are of different kinds.
    """
    first = resolve(left, collection, ask)
    second = resolve(right, collection, ask, kind=first.kind)
    if first.kind != second.kind:
        what = f"{_article(first.kind)} cannot be compared with {_article(second.kind)}"
        raise InputError(what, where=f"{left} and {right}", cure="choose two of one kind")
    return first, second


def fill(sql: str, left: Side, right: Side, **more: object) -> str:
    """A statement of a comparison with the values of both sides."""
    values = {
        f"{name}_{key}": value
        for name, side in (("left", left), ("right", right))
        for key, value in side.values.items()
    }
    return filled(sql, **values, **more)


def _split_collection(text: str, collection: str | None, ask: Ask) -> tuple[str, str | None]:
    """The id, and the collection after the last ``@`` if there is one of that name."""
    id_, at, where = text.rpartition("@")
    if at and (where == collection or ask(filled("select 1 from collections where collection = $where", where=where))):
        return id_, where
    return text, None


def _other(kind: Kind, id_: str, where: str | None, collection: str | None, ask: Ask) -> Side:
    also = " or name = $id or entity_id = $id" if kind.name == "entity" else ""
    found = ask(filled(f"from ({kind.known}) where id = $id{also}", id=id_))
    row = _only(kind, id_, found, where, collection)
    id_ = row["id"]
    if kind.name == "entity" and sum(r["id"] == id_ and r["collection"] == row["collection"] for r in found) > 1:
        id_ = row["entity_id"]
    title = row["shown"] if kind.name in ("entity", "graph") else f"{kind.name} {id_}"
    if kind.name == "operator":
        title = f"{row['shown']}, {id_}"
    values = {key: value for key, value in row.items() if key not in ("id", "shown")}
    return Side(kind.name, row["collection"], id_, title, values)


def _feature(id_: str, where: str | None, collection: str | None, ask: Ask) -> Side:
    name, _, number = id_.rpartition("/")
    if not name or not number.isdecimal():
        raise InputError(f"cannot read the feature {id_!r}", cure="write SAE/345 or L12/345")
    kind, layer = KINDS["feature"], name[1:]
    of_layer = name[0] in "Ll" and layer.isdecimal()
    within = where or collection
    if of_layer:
        sql = f"from ({kind.known}) where layer = $layer and collection = $within and d_sae is not null order by id"
        found = ask(filled(sql, layer=int(layer), within=within))
        if len(found) > 1:
            raise InputError(
                f"layer {layer} has {len(found)} SAEs",
                where=within,
                cure=f"name one: {', '.join(r['sae'] for r in found)}",
            )
    else:
        found = ask(filled(f"from ({kind.known}) where id = $id", id=name))
    row = _only(KINDS["sae"], name, found, where, collection)
    feature_id = int(number)
    if row["d_sae"] is not None and feature_id >= row["d_sae"]:
        raise InputError(f"{row['sae']} has no feature {number}", cure=f"use 0 to {row['d_sae'] - 1}")
    values = {"collection": row["collection"], "sae": row["sae"], "layer": row["layer"], "feature_id": feature_id}
    return Side(
        "feature", row["collection"], f"{row['sae']}/{feature_id}", f"feature {feature_id} of {row['sae']}", values
    )


def _only(
    kind: Kind, id_: str, found: Iterable[dict[str, Any]], where: str | None, collection: str | None
) -> dict[str, Any]:
    """The row that is meant: of the named collection, else of the reader's, else the only one."""
    rows = list(found)
    for wanted in [where] if where else [collection]:
        if here := [row for row in rows if row["collection"] == wanted]:
            rows = here
        elif where:
            raise InputError(
                f"no {kind.name} {id_!r}", where=where, cure=f"see `ato compare --help`, or run `{kind.command}`"
            )
    if not rows:
        raise InputError(
            f"no {kind.name} {id_!r} in the warehouse", cure=f"see `ato compare --help`, or run `{kind.command}`"
        )
    if len({row["collection"] for row in rows}) > 1:
        known = ", ".join(sorted({row["collection"] for row in rows})[:3])
        raise InputError(
            f"{id_!r} is in several collections", cure=f"write {kind.name}:{id_}@COLLECTION, one of {known}"
        )
    if len(rows) > 1 and kind.name == "entity":
        known = ", ".join(
            sorted(
                {str(row["id"]) for row in rows}
                if len({row["id"] for row in rows}) > 1
                else {row["entity_id"] for row in rows}
            )
        )
        raise InputError(f"{len(rows)} entities are called {id_!r}", cure=f"write one of {known}")
    return rows[0]


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {'SAE' if kind == 'sae' else kind}".replace("a SAE", "an SAE")
