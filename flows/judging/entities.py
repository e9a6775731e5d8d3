"""Faults of the settings of stage ``entities``."""

from collections.abc import Iterator
from pathlib import Path

from ato.entities.names import POSITIONS
from ato.entities.questions import TEMPLATES
from ato.entities.sets import SETS
from ato.errors import AtoError
from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model, sae_layers
from flows.settings import Settings
from tasks.entities.residuals import ENTITY, MARKS, NAME, possible_positions
from tasks.entities.sources import source_path

RECORDS = (".jsonl", ".json", ".csv", ".parquet")


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Sources, questions, places, layers, interventions."""
    yield from _sources(settings)
    yield from _answers(settings, shape)
    yield from _places(settings)
    yield from _layers(settings, shape)
    yield from _family(settings)
    i = settings.entities.interventions
    if i.n_entities and settings.collect.site == "resid_post" and settings.saes.layers:
        others = settings.saes.d_sae - 1
        if i.n_random > others:
            why = f"an SAE of saes.d_sae={others + 1} features has {others} others"
            yield Fault("entities.interventions.n_random", i.n_random, why, f"use 1 to {others}")


def _sources(settings: Settings) -> Iterator[Fault]:
    sources = settings.entities.set.sources
    for source in sources:
        if source in SETS:
            continue
        path = source_path(source)
        if not path.is_file():
            why = f"there is no set or file {source}"
            yield Fault("entities.set.sources", sources, why, f"use {', '.join(SETS)}, or a file that exists")
        elif path.suffix.lower() not in RECORDS:
            why = f"entities cannot be read from {path.name}"
            yield Fault("entities.set.sources", sources, why, f"use a {', '.join(RECORDS)} file")


def _answers(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    a, i = settings.entities.answers, settings.entities.interventions
    known = sorted({template.attribute for template in TEMPLATES.values()})
    if unknown := sorted(set(a.attributes or ()) - set(known)):
        why = f"there is no question about {', '.join(unknown)}"
        yield Fault("entities.answers.attributes", a.attributes, why, f"use some of {', '.join(known)}")
    if a.attributes == []:
        yield Fault("entities.answers.attributes", [], "nothing would be asked", "use null for all attributes")
    if a.n_samples < a.min_right_samples:
        why = f"of entities.answers.n_samples={a.n_samples} answers so many cannot be right"
        yield Fault("entities.answers.min_right_samples", a.min_right_samples, why, f"use 1 to {a.n_samples}")
    for setting, n in (("answers", a.max_new_tokens), ("interventions", i.max_new_tokens)):
        if shape is not None and shape.context is not None and n >= shape.context:
            why = f"question and answer share the model's context of {shape.context:,} tokens"
            works = f"use at most {max(1, shape.context // 2)}"
            yield Fault(f"entities.{setting}.max_new_tokens", n, why, works)


def _places(settings: Settings) -> Iterator[Fault]:
    latents = settings.entities.latents
    asked = {template.attribute for template in TEMPLATES.values()}
    for template in latents.templates:
        if template != NAME and ENTITY not in template and template not in asked:
            why = f"no entity can be read in {template!r}"
            works = f"use {NAME}, an attribute ({', '.join(sorted(asked))}) or a text with {ENTITY}"
            yield Fault("entities.latents.templates", latents.templates, why, works)
        marks = MARKS.findall(template)
        if taken := sorted(mark for mark in set(marks) if marks.count(mark) > 1 or mark in POSITIONS):
            why = f"place {', '.join(taken)} is marked twice, or is a position of every prompt"
            yield Fault("entities.latents.templates", latents.templates, why, "give each place a name of its own")
    possible = possible_positions(settings.entities)
    if unknown := sorted(set(latents.positions) - possible):
        why = f"no prompt has the position {', '.join(unknown)}"
        works = f"use {', '.join(sorted(possible))}, or mark a place [[so]] in a template"
        yield Fault("entities.latents.positions", latents.positions, why, works)


def _layers(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    latents, saes = settings.entities.latents, sae_layers(settings)
    if not saes:
        yield Fault(
            "saes.layers", [], "there is no SAE whose features could be looked at", "name a layer, such as [12]"
        )
    if latents.layers is not None:
        wrong = list(beyond_model("entities.latents.layers", latents.layers, latents.layers, shape))
        yield from wrong
        if not wrong and (missing := sorted(set(saes) - set(latents.layers))):
            why = f"layers {missing} have an SAE and are not among them"
            every = sorted({*latents.layers, *missing})
            yield Fault("entities.latents.layers", latents.layers, why, f"use {every}, or leave it out")
    methods = settings.operators.methods
    if latents.method not in methods:
        why = f"operators.methods has no {latents.method}"
        yield Fault("entities.latents.method", latents.method, why, f"use one of {', '.join(methods)}, or add it there")


def _family(settings: Settings) -> Iterator[Fault]:
    """A chat needs a template: the tokenizer is read only if one is asked for, and is on this machine."""
    from ato.entities.prompts import PromptMaker
    from ato.models.files import is_hub_id
    from ato.models.tokenizer import load_tokenizer

    family, model = settings.entities.answers.family, settings.model
    if family == "continuation" or (is_hub_id(model.name) and not Path(model.name).expanduser().exists()):
        return
    try:
        tokenizer = load_tokenizer(model.name, revision=model.revision, trust_remote_code=model.trust_remote_code)
        PromptMaker(tokenizer, family)
    except AtoError as error:
        yield Fault("entities.answers.family", family, error.what, error.cure or "use continuation")
