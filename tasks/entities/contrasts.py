"""The comparisons of a study of entities: which classes, where in which prompt, and what else is known of each entity."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ato.entities.baselines import NUMBERS, check_length
from ato.entities.groups import CORRECT_WRONG, KNOWN_UNKNOWN, EntityGroups
from ato.entities.matching import match_on_tokens
from tasks.engine.progress import say
from tasks.entities.stages import EntityStudy
from warehouse.catalog.catalog import rows
from warehouse.datasets.entity_residuals import entity_residuals

PLACES = """select distinct template, position from entity_positions
where collection = $collection and reading = $reading and drop_reason is null
order by template, position"""
KNOWLEDGE = """select
    e.entity_id, e.entity_type, e.split, l.label,
    e.n_tokens, e.n_characters, e.popularity, e.token_frequency, l.confidence
from entities as e
inner join entity_labels as l using (collection, entity_id)
inner join entity_positions as p using (collection, entity_id)
where e.collection = $collection and e.entity_set = $entity_set and l.labelling = $labelling
    and p.reading = $reading and p.template = $template and p.position = $position and p.drop_reason is null
order by e.entity_id"""
ANSWERS = """select
    e.entity_id, e.entity_type, e.split, a.grade as label,
    e.n_tokens, e.n_characters, e.popularity, e.token_frequency, a.log_probability / a.n_tokens as confidence
from entities as e
inner join entity_answers as a using (collection, entity_id)
inner join entity_positions as p using (collection, entity_id)
where e.collection = $collection and e.entity_set = $entity_set
    and a.answering = $answering and a.sample = 0 and a.attribute = $template
    and p.reading = $reading and p.template = $template and p.position = $position and p.drop_reason is null
order by e.entity_id"""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two classes of entities, compared at one place of one prompt."""

    of: EntityStudy
    name: str
    template: str
    position: str
    rows: list[dict[str, Any]]
    """Of all entities that are read there, by id."""
    groups: EntityGroups
    """The same entities; those that matching leaves out are in neither class."""

    @property
    def keys(self) -> dict[str, str]:
        """It as columns of a table."""
        return {"contrast": self.name, "template": self.template, "position": self.position}

    def __str__(self) -> str:
        return f"{self.name} at {self.position} of {self.template}"

    @property
    def classes(self) -> str:
        """Its classes in words."""
        return " and ".join(self.groups.contrast)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Entity -> its row."""
        return {row["entity_id"]: i for i, row in enumerate(self.rows)}

    @cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """Baseline -> [n] float64, NaN where an entity has no such number."""
        return {
            name: np.array([np.nan if row[name] is None else row[name] for row in self.rows], dtype=np.float64)
            for name in NUMBERS
        }

    def blocks(self, layer: int) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Rows [n] and residuals [n, d] at a layer, a block a file."""
        at = (layer, self.template, self.position)
        for block in entity_residuals(self.of.study.warehouse, self.of.reading, *at):
            here = np.array([self.row_of.get(entity, -1) for entity in block.entity_id])
            if (here >= 0).any():
                yield here[here >= 0], torch.from_numpy(block.residual[here >= 0])

    def residuals(self, layer: int) -> torch.Tensor:
        """[n, d] float32 residuals of all entities at a layer, in the order of the rows."""
        whole = torch.full((len(self.rows), self.of.study.row.d_model), torch.nan)
        for here, x in self.blocks(layer):
            whole[torch.from_numpy(here)] = x
        return whole


def contrasts(of: EntityStudy) -> Iterator[Contrast]:
    """Known against unknown entities at every place that was set; right against wrong answers at each question's end."""
    keys = {"collection": of.study.collection, "reading": of.reading}
    asked = {
        row["attribute"]
        for row in rows(
            of.study.warehouse, "select distinct attribute from entity_answers where answering = ?", [of.answering]
        )
    }
    for place in rows(of.study.warehouse, PLACES, keys):
        template, position = place["template"], place["position"]
        if template in of.templates and position in of.settings.latents.positions:
            yield _contrast(of, "known_unknown", template, position)
        if of.settings.latents.uncertainty and template in asked and position == "question_end":
            yield _contrast(of, "correct_wrong", template, position)


def _contrast(of: EntityStudy, name: str, template: str, position: str) -> Contrast:
    own = {
        "collection": of.study.collection,
        "entity_set": of.set.key,
        "reading": of.reading,
        "template": template,
        "position": position,
    }
    about_entities = name == "known_unknown"
    more = {"labelling": of.labels.key} if about_entities else {"answering": of.answering}
    found = rows(of.study.warehouse, KNOWLEDGE if about_entities else ANSWERS, own | more)
    groups = EntityGroups.of(
        [row["entity_id"] for row in found],
        [row["entity_type"] for row in found],
        [row["label"] for row in found],
        [row["split"] for row in found],
        KNOWN_UNKNOWN if about_entities else CORRECT_WRONG,
    )
    if of.settings.latents.match_tokens and groups.comparable:
        n_tokens = np.array([row["n_tokens"] for row in found], dtype=np.int64)
        matched = match_on_tokens(groups, n_tokens, of.settings.set.seed)
        check = check_length(n_tokens, groups, matched.mask, of.settings.latents.max_length_auroc)
        before = "" if check.auroc_unmatched is None else f"; before, it had AUROC {check.auroc_unmatched:.2f} on test"
        left_out = " and ".join(f"{n:,} {kind}" for n, kind in zip(matched.n_left_out, groups.contrast))
        say("entities", f"{name} at {position} of {template}: {left_out} left out to match token counts{before}")
        if check.said:
            say("entities", f"{name} at {position} of {template}: {check.said}")
        groups = groups.only(matched.mask)
    for gap in groups.gaps() if groups.comparable else ():
        say("entities", f"{name} at {position} of {template}: {gap}")
    return Contrast(of, name, template, position, found, groups)
