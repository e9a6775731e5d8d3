"""A study of entities whose truth is planted: a tiny model knows names that end in one letter, and one latent says so.

What is known cannot be planted in the answers of a random model: ``knowing`` stands in for the graders.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ato
from ato.entities.catalog import Attribute, Entity
from ato.entities.graders import GRADES, Grade
from ato.entities.prompts import Prompt, PromptMaker
from ato.entities.questions import Template
from ato.models.position_reading import read_positions
from ato.saes import SparseAutoencoder, save_sae
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.entities.task import study_entities
from tasks.features.task import measure_features
from tasks.operators.task import fit_operators
from tasks.saes.task import obtain_saes
from tests.flows.tiny_study import WORDS, tiny_settings
from tests.tiny_models import byte_tokenizer

LAYER, D_SAE = 2, 12
"""Layer and width of the SAE: latent 0 reads known, latent 1 unknown, the others anything."""
KNOWN, UNKNOWN = "z", "q"
"""Last letters of the names; neither stands in the corpus."""
TYPES = {"city": ("country", "population"), "movie": ("directors", "release_year")}
"""Type -> attributes."""
N_PER_CLASS = 36
"""Entities of each type and class."""
YES_NO = byte_tokenizer()("YN", add_special_tokens=False)["input_ids"]
"""Tokens of a self-report: no byte is a whole word."""
SMALL_PART = 24
"""Questions, or prompts, of a part of a run that is to be killed between parts."""
ENTITIES: dict[str, dict[str, Any]] = {
    "set": {"n_per_type": 100, "n_invented": 4},
    "answers": {"n_samples": 2, "min_right_samples": 1, "max_new_tokens": 3, "n_distractors": 3},
    "latents": {"n_permutations": 99, "n_ranked": 3},
    "interventions": {
        "n_entities": 5,
        "n_validation": 3,
        "n_random": 3,
        "n_sequences": 2,
        "max_new_tokens": 2,
        "strengths": [0.5, 2.0],
        "max_kl": 50.0,
    },
}


def is_known(value: str) -> bool:
    """Whether the model is to know a fact: its value ends in an even digit."""
    return int(value[-1]) % 2 == 0


def planted_grade(template: Template, attribute: Attribute, completion: str) -> Grade:
    """Right about every known entity, whatever the model said."""
    return Grade("correct" if is_known(attribute.value) else "wrong", "planted-1")


def grade_by_text(template: Template, attribute: Attribute, completion: str) -> Grade:
    """Any grade, the same for the same text: edits of the model change it."""
    return Grade(GRADES[zlib.crc32(completion.encode()) % len(GRADES)], "planted-1")


@contextmanager
def knowing() -> Iterator[pytest.MonkeyPatch]:
    """Inside, planted graders judge the answers, and self-reports are of single bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.entities.answers.grade", planted_grade)
        patch.setattr("tasks.entities.asked.grade", grade_by_text)
        patch.setattr("tasks.entities.asked.yes_no_ids", lambda _: YES_NO)
        yield patch


def records(
    types: Sequence[str] = tuple(TYPES), longer: str = "", n_per_class: int = N_PER_CLASS
) -> list[dict[str, Any]]:
    """Entities in record form; names have six letters, those of known ones ``longer`` before the last besides."""
    rng, stems = np.random.default_rng(8), set[str]()
    found = []
    for entity_type in types:
        for i in range(2 * n_per_class):
            known, number = i % 2 == 0, int(rng.integers(5))
            stem = _stem(rng, stems)
            end = f"{longer}{KNOWN}" if known else UNKNOWN
            digit = 2 * number if known else 2 * number + 1
            values = {"country": f"Land{digit}", "directors": f"Ann Lee{digit}"}
            found.append(
                {
                    "entity": stem + end,
                    "entity_type": entity_type,
                    "popularity": int(rng.integers(1_000)),
                    "attributes": [
                        {"attribute_type": name, "attribute_value": values.get(name, f"190{digit}")}
                        for name in TYPES.get(entity_type, ("colour",))
                    ],
                }
            )
    return found


def _stem(rng: np.random.Generator, taken: set[str]) -> str:
    """The first five letters of a name, not one of those taken, to which it is added."""
    while True:
        letters = ("BCDFGHJKLMNPRSTVW", "aeiou", "bdgklmnprstv", "aeiou", "bdgklmnprstv")
        stem = "".join(rng.choice(list(some)) for some in letters)
        if stem not in taken:
            taken.add(stem)
            return stem


def write_records(path: Path, found: Sequence[dict[str, Any]]) -> Path:
    """The records as a .jsonl file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    return path


def planted_sae(model: ato.LanguageModel) -> SparseAutoencoder:
    """An SAE whose latents 0 and 1 read the difference of the mean residuals of both classes at ``entity_last``.

    The others read random directions at right angles to it, and fire on a third of the names.
    """
    maker = PromptMaker(model.tokenizer, "continuation")
    found = records()
    prompts = [maker.name(Entity(one["entity_type"], one["entity"], (), "")) for one in found]
    assert all(isinstance(prompt, Prompt) for prompt in prompts)
    at = [np.array([prompt.positions["entity_last"]]) for prompt in prompts]
    blocks = read_positions(model, [prompt.token_ids for prompt in prompts], at, [LAYER])
    x = np.concatenate([block.residuals[LAYER] for block in blocks]).astype(np.float64)
    known = np.array([one["entity"].endswith(KNOWN) for one in found])
    rng = np.random.default_rng(3)
    difference = x[known].mean(0) - x[~known].mean(0)
    others = rng.normal(size=(D_SAE - 2, x.shape[1]))
    others -= np.outer(others @ difference, difference) / (difference @ difference)
    directions = np.stack([difference, -difference, *others])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scores = x @ directions.T
    bounds = np.quantile(scores, 0.67, axis=0)
    for latent, own in ((0, known), (1, ~known)):
        bounds[latent] = 0.75 * scores[own, latent].min() + 0.25 * scores[~own, latent].max()
    weights = (directions.T, -bounds, directions, np.zeros(x.shape[1]))
    return SparseAutoencoder("standard", *(torch.tensor(w, dtype=torch.float32) for w in weights))


def plant_direction(folder: Path, size: float = 4.0) -> None:
    """Move the embeddings of both last letters apart, along one direction of the residual stream."""
    weights, tokenizer = load_file(folder / "model.safetensors"), byte_tokenizer()
    embedding = weights["model.embed_tokens.weight"]
    direction = torch.randn(embedding.shape[1], generator=torch.Generator().manual_seed(5))
    for letter, sign in ((KNOWN, 1), (UNKNOWN, -1)):
        (row,) = tokenizer(letter, add_special_tokens=False)["input_ids"]
        embedding[row] += sign * size * direction / direction.norm()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def earlier_stages(settings: Settings) -> tuple[str, list[str]]:
    """All that the stage needs, as plain functions; returns the keys of the collection and of its SAEs."""
    s = settings
    collection = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    study = s.study(collection)
    saes = obtain_saes.fn(study, s.saes)
    measure_features.fn(study, saes)
    fit_operators.fn(study, saes, s.operators)
    return collection, saes


def run_entities(settings: Settings) -> None:
    """The stage as a plain function, its parts small, the graders planted."""
    with knowing() as patch:
        patch.setattr("tasks.entities.stages.PART", SMALL_PART)
        collection, saes = earlier_stages(settings)
        study_entities.fn(settings.study(collection), saes, settings.operators, settings.entities)


def planted_settings(folder: Path, **changes: dict[str, Any]) -> Settings:
    """Settings of the study, with its model, corpus, SAE and entities in a folder; changes are of groups of ``entities``."""
    if not (folder / "sae").exists():
        tiny_settings(folder)
        plant_direction(folder / "model")
        assert not {KNOWN, UNKNOWN} & set("".join(WORDS))
        save_sae(planted_sae(ato.load_model(str(folder / "model"), device="cpu", dtype="float32")), folder / "sae")
        write_records(folder / "entities.jsonl", records())
    own = {name: inner | changes.get(name, {}) for name, inner in ENTITIES.items()}
    own["set"] = {"sources": [str(folder / "entities.jsonl")]} | own["set"]
    return tiny_settings(
        folder,
        model={"attention": "eager"},
        saes={"layers": [], "paths": {LAYER: str(folder / "sae")}},
        collect={"n_tokens": 5_000},
        operators={
            "source_layers": [0, 1],
            "leaps": [1, 2],
            "target_layers": [LAYER],
            "methods": ["ridge"],
            "train_fractions": [],
            "register_operators": False,
        },
        features={"score": False},
        entities=own,
    )
