"""Settings of stage `entities`."""

from typing import Annotated

from pydantic import Field

from ato.entities.names import FAMILIES, POSITION_MODES, POSITIONS
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings
from tasks.settings.operators import Method

Position = Annotated[str, Field(pattern=r"^\w+$")]
Edited = Annotated[str, OneOf(POSITION_MODES)]
Family = Annotated[str, OneOf(FAMILIES)]


class EntitySetSettings(StageSettings):
    """Which entities are asked about."""

    sources: Annotated[list[str], Distinct] = Field(
        ["cities"],
        min_length=1,
        description="Built-in sets (cities, countries, films, people, works) or files: .jsonl, .json, .csv, .parquet",
    )
    n_per_type: int = Field(
        600,
        ge=2,
        description="Number of entities drawn per type: half the best known to the world, half any of the others",
    )
    n_invented: int = Field(100, ge=0, description="Invented entities per type, made of parts of real names")
    seed: Seed = Field(0, description="Seed of draws, inventions and splits")


class AnswerSettings(StageSettings):
    """How the model is asked, and when it counts as knowing."""

    attributes: Annotated[list[str], Distinct] | None = Field(
        None, description="Attributes of entities that are asked about; default: all that have a template and a value"
    )
    family: Family = Field(
        "continuation",
        description="Form of the questions about entities: a text to continue, a chat whose answer is begun, or a chat",
    )
    n_samples: int = Field(10, ge=1, description="Answers drawn per question about an entity, beside the greedy one")
    temperature: float = Field(1.0, gt=0, description="Temperature of drawn answers")
    max_new_tokens: int = Field(32, ge=1, description="Longest answer about an entity, in tokens")
    n_distractors: int = Field(
        8, ge=0, description="Other entities' values against which the right one is scored by its probability"
    )
    min_right_samples: int = Field(3, ge=1, description="Drawn answers that must be right for an attribute to be known")
    known_attributes: int = Field(
        2, ge=1, description="Known attributes that make an entity known; all of them where it has fewer"
    )
    batch_size: int = Field(128, ge=1, description="Answers about entities that are generated at once")


class LatentSettings(StageSettings):
    """Where residuals are read, and how features are chosen and judged."""

    layers: Annotated[list[LayerNumber], Field(min_length=1)] | None = Field(
        None,
        description="Layers whose latents are compared; default: those of the SAEs, and of the operators into them",
    )
    templates: Annotated[list[str], Distinct] = Field(
        ["name"],
        min_length=1,
        description="Texts in which entities are read: name (The city 'X'), attributes, whose question it is, or texts with "
        "{entity} and marked places, such as I met {entity}[[met]] there.",
    )
    positions: Annotated[list[Position], Distinct] = Field(
        ["entity_last"], min_length=1, description=f"Tokens that are read: {', '.join(POSITIONS)}, or a marked place"
    )
    uncertainty: bool = Field(
        True,
        description="Also look for latents that separate right from wrong answers, at the end of each question that was asked",
    )
    match_tokens: bool = Field(
        True, description="Compare known and unknown entities whose names have equally many tokens, leaving others out"
    )
    max_length_auroc: float = Field(
        0.6,
        ge=0.5,
        le=1,
        description="Largest AUROC of token count alone before the results warn that the classes differ by length",
    )
    max_general_rate: float = Field(
        0.02, gt=0, le=1, description="Largest share of ordinary text on which a ranked latent may be active"
    )
    n_permutations: int = Field(
        200, ge=19, description="Permutations of the labels that the best separation is compared with"
    )
    n_ranked: int = Field(
        20, ge=1, description="Best latents, of the known and of the unknown, that are judged on test entities"
    )
    method: Method = Field("ridge", description="Method of the operators that may carry a feature from below")


class EntityInterventionSettings(StageSettings):
    """What is changed in the running model, and for whom it answers."""

    n_entities: int = Field(40, ge=0, description="Test entities per class that are asked again; 0: no interventions")
    n_validation: int = Field(20, ge=1, description="Validation entities per class that choose the strength")
    positions: Annotated[list[Edited], Distinct] = Field(
        ["entity_last_to_end"],
        min_length=1,
        description="Tokens of a question about an entity that are edited: all, entity, entity_last, entity_last_to_end, question_end ...",
    )
    strengths: Annotated[list[Annotated[float, Field(gt=0)]], Distinct] = Field(
        [0.25, 0.5, 1.0, 2.0],
        min_length=1,
        description="Strengths of entity steering that are tried, in units of the residual's norm",
    )
    max_kl: float = Field(
        0.5, gt=0, description="Largest KL divergence on ordinary text of a strength that is chosen, in nats per token"
    )
    n_random: int = Field(
        20,
        ge=1,
        description="Random latents, and random directions, edited instead as controls; fewer than 19 cannot reach p = 0.05",
    )
    orthogonalise: bool = Field(
        True, description="Also ask the model after its weights were made orthogonal to the latents' directions"
    )
    n_sequences: int = Field(8, ge=1, description="Sequences of ordinary text on which the KL divergence is measured")
    max_new_tokens: int = Field(12, ge=1, description="Longest answer about an entity, in tokens")


class EntitySettings(StageSettings):
    """Whether the model knows entities, which features say so, and what they cause."""

    set: EntitySetSettings = EntitySetSettings()
    answers: AnswerSettings = AnswerSettings()
    latents: LatentSettings = LatentSettings()
    interventions: EntityInterventionSettings = EntityInterventionSettings()
