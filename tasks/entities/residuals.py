"""Stage ``entity_residuals``: the residuals at named positions of the prompts that entities stand in."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ato.entities.catalog import Entity
from ato.entities.names import POSITIONS
from ato.entities.prompts import Dropped, Prompt, PromptMaker
from ato.entities.questions import TEMPLATES, template_name
from ato.errors import SettingsError
from tasks.engine.model_cache import language_model
from tasks.engine.parallel_parts import part_task, run_parts
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage
from tasks.entities.answers import questions_of
from tasks.entities.sets import stored_entities
from tasks.entities.stages import EntityStudy, part_numbers, part_of
from tasks.settings import EntitySettings

NAME = "name"
"""The template that holds nothing but type and name."""
MARKS = re.compile(r"\[\[(\w+)\]\]")
ENTITY = "{entity}"
"""What marks a template as a text of the user's own."""


@dataclass(frozen=True)
class Place:
    """One prompt of one entity, and the positions of it that are read."""

    entity: Entity
    template: str
    positions: tuple[str, ...]


def places_of(of: EntityStudy, entities: Sequence[Entity]) -> list[Place]:
    """All prompts to read: the templates of the settings, and the ends of the questions that were asked.

    Raises:
        SettingsError: a template of the settings is none of any entity's type.
    """
    settings = of.settings.latents
    wanted: dict[tuple[str, str], set[str]] = {}
    by_id = {entity.entity_id: entity for entity in entities}
    for entity in entities:
        for template in of.templates:
            if template == NAME or ENTITY in template or template_name(entity.entity_type, template) in TEMPLATES:
                wanted.setdefault((entity.entity_id, template), set()).update(settings.positions)
    if unknown := [one for one in of.templates if one not in {template for _, template in wanted}]:
        raise SettingsError(
            f"no entity can be read in {', '.join(unknown)}",
            where="entities.latents.templates",
            cure=f"use {NAME}, an attribute of their types that has a question, or a text with {ENTITY}",
        )
    _check_positions(of)
    if settings.uncertainty:
        for question in questions_of(entities, of.settings.answers.attributes):
            wanted.setdefault((question.entity.entity_id, question.attribute.name), set()).add("question_end")
    return [
        Place(by_id[entity], template, tuple(sorted(positions)))
        for (entity, template), positions in sorted(wanted.items(), key=lambda item: item[0][::-1])
    ]


def possible_positions(settings: EntitySettings) -> set[str]:
    """Positions that some prompt of the settings can have."""
    templates = settings.latents.templates
    marked = {place for template in templates for place in MARKS.findall(template)}
    chats = settings.answers.family != "continuation" and any(template != NAME for template in templates)
    return {*POSITIONS, *marked} - (set() if chats else {"last_eoi"})


def _check_positions(of: EntityStudy) -> None:
    """Raise SettingsError for positions that no template can have."""
    possible = possible_positions(of.settings)
    if unknown := sorted(set(of.settings.latents.positions) - possible):
        raise SettingsError(
            f"no prompt has the position {', '.join(unknown)}",
            where="entities.latents.positions",
            cure=f"use {', '.join(sorted(possible))}, or mark a place [[so]] in a template",
        )


def read_residuals(of: EntityStudy, parts: int = 1) -> None:
    """Read what was not read yet; a killed run goes on with the part that it was at."""
    places = places_of(of, stored_entities(of.study.warehouse, of.set.key))
    missing = [number for number in part_numbers(len(places)) if not of.residual_part(number).complete]
    if not missing:
        say("entities", f"{of.reading} is complete, skipped")
        return
    of_layers = f"{len(of.layers)} layers" if len(of.layers) > 4 else f"layers {', '.join(map(str, of.layers))}"
    say("entities", f"{len(places):,} prompts at {of_layers}")
    if parts > 1:
        run_parts("entity residuals", read_share, [missing[i::parts] for i in range(min(parts, len(missing)))], of)
        return
    n = sum(len(part_of(places, number)) for number in missing)
    with Progress("entity residuals", n, "prompts") as progress:
        for number in missing:
            _read_part(of, number, places)
            progress.advance(len(part_of(places, number)))


@part_task("entity residuals, part")
def read_share(numbers: list[int], of: EntityStudy) -> None:
    """Some parts of the residuals, those left out that an attempt before this one completed."""
    places = places_of(of, stored_entities(of.study.warehouse, of.set.key))
    for number in numbers:
        if not of.residual_part(number).complete:
            _read_part(of, number, places)


def _read_part(of: EntityStudy, number: int, places: Sequence[Place]) -> None:
    lm, family = language_model(of.study.model), of.settings.answers.family
    own = part_of(places, number)
    makers = {
        name: PromptMaker(lm.tokenizer, "continuation" if name == NAME else family)
        for name in {p.template for p in own}
    }
    prompts = [_prompt(place, makers[place.template]) for place in own]
    rows = [row for place, prompt in zip(own, prompts, strict=True) for row in _rows(place, prompt)]
    facts = {"collection": of.study.collection, "reading": of.reading}
    dropped = [row["drop_reason"] for row in rows if row["drop_reason"] is not None]
    if dropped:
        say("entities", f"{len(dropped)} positions not read: {', '.join(sorted(set(dropped)))}")
    with of.residual_part(number) as stage:
        stage.write("entity_positions", [facts | row for row in rows])
        kept = [(place, prompt) for place, prompt in zip(own, prompts, strict=True) if isinstance(prompt, Prompt)]
        _read(of, stage, kept)
        stage.tokens_run = sum(len(prompt.token_ids) for _, prompt in kept)


def _prompt(place: Place, maker: PromptMaker) -> Prompt | Dropped:
    if place.template == NAME:
        return maker.name(place.entity)
    if ENTITY in place.template:
        return maker.custom(place.template, place.entity)
    return maker.question(place.entity, template_name(place.entity.entity_type, place.template))


def _rows(place: Place, prompt: Prompt | Dropped) -> Iterator[dict[str, Any]]:
    """Rows of ``entity_positions``."""
    for position in place.positions:
        row = {"entity_id": place.entity.entity_id, "template": place.template, "position": position}
        if isinstance(prompt, Dropped):
            nothing: dict[str, Any] = {"token_ids": [], "token_start": None, "token_end": None, "token": None}
            yield row | nothing | {"drop_reason": prompt.reason}
        else:
            token = prompt.positions.get(position)
            yield row | {
                "token_ids": prompt.token_ids.tolist(),
                "token_start": prompt.span[0],
                "token_end": prompt.span[1],
                "token": token,
                "drop_reason": None if token is not None else f"this prompt has no {position}",
            }


def _read(of: EntityStudy, stage: Stage, kept: Sequence[tuple[Place, Prompt]]) -> None:
    """Run the prompts and write a file a layer."""
    from ato.models.position_reading import read_positions

    lm = language_model(of.study.model)
    wanted = [[name for name in place.positions if name in prompt.positions] for place, prompt in kept]
    at = [np.array([prompt.positions[p] for p in names], dtype=np.int64) for (_, prompt), names in zip(kept, wanted)]
    found: dict[int, list[np.ndarray]] = {layer: [] for layer in of.layers}
    prompts = [prompt.token_ids for _, prompt in kept]
    for block in read_positions(lm, prompts, at, of.layers, site=of.study.row.site):
        for layer, x in block.residuals.items():
            found[layer].append(x)
    keys = [(place.entity.entity_id, place.template, p) for (place, _), names in zip(kept, wanted) for p in names]
    columns = {name: [key[i] for key in keys] for i, name in enumerate(("entity_id", "template", "position"))}
    for layer, blocks in found.items():
        x = np.concatenate(blocks) if blocks else np.zeros((0, of.study.row.d_model), dtype=np.float32)
        offsets = np.arange(len(x) + 1, dtype=np.int32) * x.shape[1]
        residual = pa.ListArray.from_arrays(offsets, pa.array(x.reshape(-1)))
        own = {"collection": of.study.collection, "reading": of.reading, "layer": layer}
        constants = {name: [value] * len(keys) for name, value in own.items()}
        stage.write("entity_residuals", columns | constants | {"residual": residual}, layer=layer)
