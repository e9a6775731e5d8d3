"""Stage ``entity_set``: entities with their facts, drawn from sources, and invented ones beside them."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ato.entities.catalog import Attribute, Entity, distinct, draw, entity_split
from ato.entities.graders import grade
from ato.entities.invented import invent
from ato.entities.prompts import Dropped, PromptMaker
from ato.entities.questions import TEMPLATES, template_name
from ato.errors import InputError
from tasks.engine.model_cache import language_model
from tasks.engine.progress import say
from tasks.engine.study import Study
from tasks.entities.sources import read_source
from tasks.entities.stages import EntityStudy
from tasks.settings.entities import EntitySetSettings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

FREQUENCY = """select token_id, count(*) as n
from (select unnest(token_ids) as token_id from sequences where collection = ?)
group by token_id"""


def make_set(of: EntityStudy) -> None:
    """Draw the entities of the settings and write them with their facts, unless they are there."""
    if of.set.skip():
        return
    settings, study = of.settings.set, of.study
    maker, counts = PromptMaker(language_model(study.model).tokenizer, "continuation"), _token_counts(study)

    def ids(name: str) -> list[int]:
        """Tokens of a name between quotation marks; none where it cannot be found among them."""
        prompt = maker.custom("'{entity}'", Entity("", name, (), ""))
        return [] if isinstance(prompt, Dropped) else prompt.token_ids[slice(*prompt.span)].tolist()

    entities = _entities(settings, lambda name: len(ids(name)))
    with of.set as stage:
        facts = {"collection": study.collection, "entity_set": stage.key}
        stage.write("entities", [facts | _row(entity, ids(entity.name), counts, settings.seed) for entity in entities])
        stage.write("entity_attributes", [facts | row for entity in entities for row in _attributes(entity)])
    per_type = Counter((entity.entity_type, entity.invented) for entity in entities)
    listed = ", ".join(f"{n} {'invented ' if made else ''}{kind}" for (kind, made), n in sorted(per_type.items()))
    say("entities", f"{stage.key}: {listed}")
    if without := Counter(name for one in entities for a in one.attributes if (name := _unasked(one, a)) is not None):
        listed = ", ".join(f"{name} ({n:,})" for name, n in sorted(without.items()))
        say("entities", f"attributes without a question: {listed}")


def _entities(settings: EntitySetSettings, n_tokens: Callable[[str], int]) -> list[Entity]:
    every: list[Entity] = []
    for source in settings.sources:
        every += read_source(source)
    kept, dropped = distinct(every)
    kept, ungradable = _gradable(kept)
    if ungradable:
        say("entities", f"{ungradable:,} facts left out: no grader can read their value")
    drawn = draw(kept, settings.n_per_type, settings.seed)
    without = [entity.name for entity in drawn if not n_tokens(entity.name)]
    if without:
        dropped["without tokens of their own"] += len(without)
        drawn = [entity for entity in drawn if entity.name not in without]
    if dropped:
        say("entities", "left out: " + ", ".join(f"{n:,} {reason}" for reason, n in sorted(dropped.items())))
    if not drawn:
        raise InputError(
            "no entity is left", where=", ".join(settings.sources), cure="give records with a name and facts"
        )
    if not settings.n_invented:
        return drawn
    made = invent(drawn, n_tokens, settings.n_invented, settings.seed, [entity.name for entity in kept])
    wanted = settings.n_invented * len({entity.entity_type for entity in drawn})
    if len(made) < wanted:
        say("entities", f"only {len(made)} of {wanted} invented names match a real one in tokens")
    return [*drawn, *made]


def _gradable(entities: Sequence[Entity]) -> tuple[list[Entity], int]:
    """Entities without the facts whose value their grader cannot read, and how many those were."""
    found, lost = [], 0
    for entity in entities:
        kept = tuple(attribute for attribute in entity.attributes if _can_grade(entity, attribute))
        lost += len(entity.attributes) - len(kept)
        found.append(entity if len(kept) == len(entity.attributes) else replace(entity, attributes=kept))
    return [entity for entity in found if entity.attributes or entity.invented], lost


def _can_grade(entity: Entity, attribute: Attribute) -> bool:
    template = TEMPLATES.get(template_name(entity.entity_type, attribute.name))
    try:
        return template is None or grade(template, attribute, "") is not None
    except InputError:
        return False


def _unasked(entity: Entity, attribute: Attribute) -> str | None:
    """Name of the question that there is not; None where there is one."""
    name = template_name(entity.entity_type, attribute.name)
    return None if name in TEMPLATES else name


def _token_counts(study: Study) -> dict[int, int]:
    return {row["token_id"]: row["n"] for row in rows(study.warehouse, FREQUENCY, [study.collection])}


def _row(entity: Entity, ids: Sequence[int], counts: dict[int, int], seed: int) -> dict[str, Any]:
    return {
        "entity_id": entity.entity_id,
        "entity_type": entity.entity_type,
        "name": entity.name,
        "source": entity.source,
        "invented": entity.invented,
        "split": entity_split(entity.entity_id, seed),
        "popularity": entity.popularity,
        "n_tokens": len(ids),
        "n_characters": len(entity.name),
        "token_frequency": sum(math.log1p(counts.get(i, 0)) for i in ids) / len(ids),
    }


def _attributes(entity: Entity) -> Iterable[dict[str, Any]]:
    for attribute in entity.attributes:
        yield {
            "entity_id": entity.entity_id,
            "attribute": attribute.name,
            "value": attribute.value,
            "aliases": list(attribute.aliases),
        }


def stored_entities(warehouse: Warehouse, entity_set: str) -> list[Entity]:
    """The entities of a set with their facts, by id."""
    facts: dict[str, list[dict[str, Any]]] = {}
    select = "select entity_id, attribute, value, aliases from entity_attributes where entity_set = ? order by all"
    for row in rows(warehouse, select, [entity_set]):
        facts.setdefault(row["entity_id"], []).append(row)
    found = rows(warehouse, "select * from entities where entity_set = ? order by entity_id", [entity_set])
    return [_entity(row, facts.get(row["entity_id"], [])) for row in found]


def _entity(row: dict[str, Any], facts: Sequence[dict[str, Any]]) -> Entity:
    return Entity(
        row["entity_type"],
        row["name"],
        tuple(Attribute(fact["attribute"], fact["value"], tuple(fact["aliases"])) for fact in facts),
        row["source"],
        row["popularity"],
        row["invented"],
    )
