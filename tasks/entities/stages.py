"""The stages of a study of entities: each keyed by its own settings and by those that it stands on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

from ato.errors import LayerError, SettingsError
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.entities.sources import source_hashes
from tasks.operators.pairs import PairStage, pair_stages
from tasks.settings import EntitySettings, OperatorSettings
from warehouse.catalog.lookups import SAERow, sae_rows

PART = 256
"""Questions, or prompts, of one part: what is lost when a run is killed."""
JUDGED_LATER = {"min_right_samples", "known_attributes"}
"""Settings of the answers that change the labels alone."""
NO_RESULT = {"batch_size"}
"""Settings of the answers that change no number but for rounding."""

Item = TypeVar("Item")


def part_numbers(n: int) -> range:
    """Numbers of the parts of n questions or prompts."""
    return range(-(-n // PART))


def part_of(items: Sequence[Item], number: int) -> Sequence[Item]:
    """The questions or prompts of one part."""
    return items[number * PART : (number + 1) * PART]


@dataclass(frozen=True)
class EntityStudy:
    """What all stages of one study of entities share."""

    study: Study
    sae_keys: tuple[str, ...]
    operators: OperatorSettings
    settings: EntitySettings

    @cached_property
    def saes(self) -> list[SAERow]:
        """The SAEs whose features are looked at, by layer."""
        return sae_rows(self.study.warehouse, self.sae_keys)

    @cached_property
    def pairs(self) -> list[PairStage]:
        """Pairs of layers whose operators may carry a feature: they end at an SAE's layer."""
        targets = {sae.layer for sae in self.saes}
        return [pair for pair in pair_stages(self.study, self.operators) if pair.target_layer in targets]

    @cached_property
    def layers(self) -> list[int]:
        """Layers that residuals are read at."""
        own = self.settings.latents.layers
        if own is not None:
            return sorted(set(own))
        return sorted({sae.layer for sae in self.saes} | {pair.source_layer for pair in self.pairs})

    @property
    def templates(self) -> list[str]:
        """Prompts that entities are read in, as set."""
        return list(dict.fromkeys(self.settings.latents.templates))

    @property
    def place(self) -> tuple[str, str]:
        """Template and position whose best features are intervened on: the first of the settings."""
        return self.templates[0], self.settings.latents.positions[0]

    @cached_property
    def set(self) -> Stage:
        """The entities themselves."""
        own = self.settings.set
        return self.study.stage(
            "entity_set",
            "entities-" + "-".join(sorted({_short(source) for source in own.sources})),
            settings=own.model_dump(),
            inputs=[self.study.collection, *source_hashes(own.sources)],
        )

    @cached_property
    def answering(self) -> str:
        """Key of all answers; each part has a stage of its own, see ``answer_part``."""
        return self._answers.key

    def answer_part(self, number: int) -> Stage:
        """The stage of one part of the answers."""
        return self._part(self._answers, self.answering, number)

    @property
    def _answers(self) -> Stage:
        own = self.settings.answers.model_dump(exclude=JUDGED_LATER | NO_RESULT)
        own |= {"seed": self.settings.set.seed}
        return self.study.stage("entity_answers", "answers", settings=own, inputs=[self.set.key])

    def _part(self, whole: Stage, key: str, number: int) -> Stage:
        """The stage of one part of what has this key as a whole."""
        own = {"part": number, "size": PART}
        return self.study.stage(whole.name, f"{whole.name}-{number:04d}", settings=own, inputs=[self.set.key, key])

    @cached_property
    def labels(self) -> Stage:
        """Who is known."""
        own = self.settings.answers.model_dump(include=JUDGED_LATER)
        return self.study.stage("entity_labels", "labels", settings=own, inputs=[self.answering])

    @cached_property
    def reading(self) -> str:
        """Key of all residuals at entities."""
        return self._residuals.key

    def residual_part(self, number: int) -> Stage:
        """The stage of one part of the residuals."""
        return self._part(self._residuals, self.reading, number)

    @property
    def _residuals(self) -> Stage:
        latents, answers = self.settings.latents, self.settings.answers
        own: dict[str, Any] = {
            "layers": self.layers,
            "templates": self.templates,
            "positions": sorted(latents.positions),
            "questions": {"family": answers.family, "attributes": answers.attributes, "read": latents.uncertainty},
        }
        return self.study.stage("entity_residuals", "residuals", settings=own, inputs=[self.set.key])

    @cached_property
    def latents(self) -> Stage:
        """Features that separate known from unknown entities, and right from wrong answers."""
        own = self.settings.latents.model_dump(exclude={"layers", "templates", "positions"})
        own |= {"seed": self.settings.set.seed}
        operators = sorted(pair.operator_key(self.settings.latents.method) for pair in self.carrying)
        inputs = [self.labels.key, self.reading, *sorted(self.sae_keys), *operators]
        return self.study.stage("entity_latents", "latents", settings=own, inputs=inputs)

    @property
    def carrying(self) -> list[PairStage]:
        """Pairs that have an operator of the method of the settings between the same positions, at layers that are read."""
        method = self.settings.latents.method
        return [
            pair
            for pair in self.pairs
            if pair.position_policy == "same" and method in pair.methods and {*pair.layers} <= {*self.layers}
        ]

    @cached_property
    def interventions(self) -> Stage:
        """What the best features cause."""
        own = self.settings.interventions.model_dump()
        own |= {"seed": self.settings.set.seed, "attention": self.study.model.attention, "place": self.place}
        return self.study.stage("entity_interventions", "interventions", settings=own, inputs=[self.latents.key])


def entity_study(
    study: Study, sae_keys: Sequence[str], operators: OperatorSettings, settings: EntitySettings
) -> EntityStudy:
    """The stages of a study of entities.

    Raises:
        InputError: the collection is not complete.
        LayerError: a layer to read is not in the model, or the layer of an SAE is not among them.
        SettingsError: fewer samples are drawn than must be right, or there is no SAE.
    """
    found = EntityStudy(study, tuple(sae_keys), operators, settings)
    if not found.saes:
        raise SettingsError("there is no SAE whose features could be looked at", where="saes", cure="set saes.layers")
    needed, last = [sae.layer for sae in found.saes], study.row.n_layers - 1
    if missing := sorted(set(needed) - set(found.layers)):
        raise LayerError(
            f"layers {missing} have an SAE and are not read at entities",
            where=f"entities.latents.layers={found.layers}",
            cure="add them, or leave the setting out",
        )
    if outside := [layer for layer in found.layers if not 0 <= layer <= last]:
        raise LayerError(
            f"layers {outside} are not in the model", where="entities.latents.layers", cure=f"use 0 to {last}"
        )
    answers = settings.answers
    if answers.n_samples < answers.min_right_samples:
        raise SettingsError(
            f"of {answers.n_samples} samples {answers.min_right_samples} cannot be right",
            where="entities.answers",
            cure="raise n_samples or lower min_right_samples",
        )
    return found


def _short(source: str) -> str:
    return PurePath(source).stem.lower().replace(" ", "-")[:20]
