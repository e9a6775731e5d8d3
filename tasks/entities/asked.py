"""Asking entities again under several conditions at once, and what each condition does to ordinary text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ato.causal.text_kl import text_kl, text_kls
from ato.entities.graders import grade
from ato.entities.orthogonal_weights import orthogonalised
from ato.entities.outcomes import (
    SELF_REPORT_PREFILL,
    SELF_REPORT_QUESTION,
    entity_attention,
    self_report,
    yes_no_ids,
)
from ato.entities.prompts import Prompt, PromptMaker
from ato.entities.steering import Places, placed, placed_by_row
from ato.errors import SettingsError
from ato.models.prompt_pass import GenerationEdit
from ato.numerics.evenly import evenly_spaced
from tasks.engine.model_cache import language_model
from tasks.engine.progress import say
from tasks.entities.answers import Question, decoding_of, questions_of
from tasks.entities.changes import ORTHOGONALISE, Condition
from tasks.entities.sets import stored_entities
from tasks.entities.stages import EntityStudy
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences

ROWS_AT_ONCE = 256
"""Entities times conditions that are asked about before progress is counted: about ten seconds of a small model."""
LABELLED = """select e.entity_id, l.label from entities as e
inner join entity_labels as l using (collection, entity_id)
where e.collection = ? and e.entity_set = ? and l.labelling = ? and e.split = ? and l.label in ('known', 'unknown')
order by e.entity_id"""


@dataclass(frozen=True)
class AskedAgain:
    """One question to one entity of a class."""

    question: Question
    label: str
    prompt: Prompt
    report: Prompt | None
    """Whether it knows the entity; None where that cannot be asked."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What the model said under one condition, about all entities in their order."""

    condition: Condition
    labels: list[str]
    grades: list[str] | None
    self_report: np.ndarray
    """[n] NaN where it was not measured."""
    attention: np.ndarray
    """[n] NaN where it was not measured."""
    rows: list[dict[str, Any]]


def questions_by_label(of: EntityStudy, split: str, n: int) -> list[AskedAgain]:
    """At most n known and n unknown entities of a split, by id (a hash), each with its first question."""
    keys = [of.study.collection, of.set.key, of.labels.key, split]
    found = {row["entity_id"]: row["label"] for row in rows(of.study.warehouse, LABELLED, keys)}
    lm, family = language_model(of.study.model), of.settings.answers.family
    maker = PromptMaker(lm.tokenizer, family)
    reported = _can_report(lm.tokenizer)
    questions: dict[str, Question] = {}
    for question in questions_of(stored_entities(of.study.warehouse, of.set.key), of.settings.answers.attributes):
        questions.setdefault(question.entity.entity_id, question)
    chosen: list[AskedAgain] = []
    for label in ("known", "unknown"):
        own = [questions[entity] for entity, known in found.items() if known == label and entity in questions][:n]
        for question in own:
            prompt = maker.question(question.entity, question.name)
            if isinstance(prompt, Prompt):
                report = _report(maker, question) if reported else None
                chosen.append(AskedAgain(question, label, prompt, report))
    return chosen


def _can_report(tokenizer: Any) -> bool:
    """Whether the model can be asked for yes or no; says why not."""
    try:
        yes_no_ids(tokenizer)
    except SettingsError as error:
        say("entities", f"no self-report: {error}")
        return False
    return True


def _report(maker: PromptMaker, question: Question) -> Prompt | None:
    kind = question.entity.entity_type.replace("_", " ")
    text = SELF_REPORT_QUESTION.format(entity_type=kind, entity="{entity}")
    plain = maker.family == "continuation"
    text, prefill = (f"{text} {SELF_REPORT_PREFILL}", "") if plain else (text, SELF_REPORT_PREFILL)
    made = maker.custom(text, question.entity, prefill)
    return made if isinstance(made, Prompt) else None


def ask(
    of: EntityStudy,
    asked: Sequence[AskedAgain],
    conditions: Sequence[Condition],
    answer: bool = True,
    advance: Callable[[float], None] = lambda share: None,
) -> list[Asked]:
    """Answers, self-reports and attention of all entities under conditions of one layer.

    A few entities at a time, under all conditions: what these leave equal of a prompt is run once.

    Args:
        of: the study.
        asked: the entities.
        conditions: that edit the same layer at the same positions, or nothing.
        answer: false for self-reports only.
        advance: told after every few entities what share of all they are.
    """
    at_once = max(1, ROWS_AT_ONCE // len(conditions))
    # Those whose prompts are about as long are run together.
    order = sorted(range(len(asked)), key=lambda i: len(asked[i].prompt.token_ids))
    parts = [order[start : start + at_once] for start in range(0, len(order), at_once)]
    found = []
    for part in parts:
        found.append(_ask([asked[i] for i in part], conditions, of, answer))
        advance(len(part) / len(asked))
    inverse = np.argsort(order)
    return [_merged([of_part[k] for of_part in found], inverse) for k in range(len(conditions))]


def _merged(parts: Sequence[Asked], order: np.ndarray) -> Asked:
    """What was asked in several parts, in another order."""
    labels, rows_ = [x for part in parts for x in part.labels], [x for part in parts for x in part.rows]
    grades = [x for part in parts for x in part.grades or ()]
    return Asked(
        parts[0].condition,
        [labels[i] for i in order],
        None if parts[0].grades is None else [grades[i] for i in order],
        np.concatenate([part.self_report for part in parts])[order],
        np.concatenate([part.attention for part in parts])[order],
        [rows_[i] for i in order] if rows_ else [],
    )


def _ask(asked: Sequence[AskedAgain], conditions: Sequence[Condition], of: EntityStudy, answer: bool) -> list[Asked]:
    """``ask`` for entities that are run at once."""
    n = len(asked)
    prompts = [one.prompt for one in asked] * len(conditions)
    answers = _answers(of, asked, conditions) if answer else None
    reports = _reports(of, asked, conditions)
    attention = _attention(of, asked, conditions) if answer else np.full(len(prompts), np.nan)
    found = []
    for number, condition in enumerate(conditions):
        own = slice(number * n, (number + 1) * n)
        rows_: list[dict[str, Any]] = []
        grades = None
        if answers is not None:
            graded = [
                grade(one.question.template, one.question.attribute, text) for one, text in zip(asked, answers[own])
            ]
            grades = [one.grade for one in graded]
            for i, (one, text) in enumerate(zip(asked, answers[own])):
                rows_.append(
                    condition.columns
                    | {
                        "entity_id": one.question.entity.entity_id,
                        "label": one.label,
                        "attribute": one.question.attribute.name,
                        "completion": text,
                        "grade": grades[i],
                        "self_report": _none(reports[own][i]),
                        "attention": _none(attention[own][i]),
                    }
                )
        labels = [one.label for one in asked]
        found.append(Asked(condition, labels, grades, reports[own], attention[own], rows_))
    return found


def _none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _edits(conditions: Sequence[Condition], prompts: Sequence[Prompt], n: int) -> list[GenerationEdit]:
    """The edit of conditions of one layer; prompt i belongs to condition i // n."""
    layer = (
        conditions[0].layer
        if len(conditions) == 1
        else next((c.layer for c in conditions if c.layer is not None), None)
    )
    if layer is None:
        return []
    position = next(c.position for c in conditions if c.layer is not None)
    places = Places(position, [len(p.token_ids) for p in prompts], [p.span for p in prompts])
    changes = [c.changed.change(c.kind) if c.changed is not None and c.layer is not None else None for c in conditions]
    return [placed_by_row([change for change in changes for _ in range(n)], places, layer)]


def _answers(of: EntityStudy, asked: Sequence[AskedAgain], conditions: Sequence[Condition]) -> list[str]:
    from ato.models.generation import completion_text, generate

    lm, prompts = language_model(of.study.model), [one.prompt for one in asked] * len(conditions)
    decoding = decoding_of(of, n_samples=0, max_new_tokens=of.settings.interventions.max_new_tokens)
    edits = _edits(conditions, prompts, len(asked))
    completions = generate(lm, [prompt.token_ids for prompt in prompts], decoding, edits)
    return [completion_text(lm, one, decoding) for one in completions]


def _reports(of: EntityStudy, asked: Sequence[AskedAgain], conditions: Sequence[Condition]) -> np.ndarray:
    """[conditions * n]; NaN where nobody is asked."""
    lm, found = language_model(of.study.model), np.full((len(conditions), len(asked)), np.nan)
    chosen = [i for i, one in enumerate(conditions) if one.is_reported]
    prompts = {i: one.report for i, one in enumerate(asked) if one.report is not None}
    if chosen and prompts:
        repeated = [*prompts.values()] * len(chosen)
        edits = _edits([conditions[i] for i in chosen], repeated, len(prompts))
        pair, size = yes_no_ids(lm.tokenizer), of.settings.answers.batch_size
        values = self_report(lm, [prompt.token_ids for prompt in repeated], edits, yes_no=pair, batch_size=size)
        found[np.ix_(chosen, [*prompts])] = values.reshape(len(chosen), len(prompts))
    return found.reshape(-1)


def _attention(of: EntityStudy, asked: Sequence[AskedAgain], conditions: Sequence[Condition]) -> np.ndarray:
    """[conditions * n] mean over heads and layers; NaN for controls, and for models without eager attention."""
    lm, n = language_model(of.study.model), len(asked)
    found = np.full(len(conditions) * n, np.nan)
    if of.study.model.attention != "eager":
        return found
    for number, one in enumerate(conditions):
        if one.is_control:
            continue
        prompts = [again.prompt for again in asked]
        ids, spans = [p.token_ids for p in prompts], [p.span for p in prompts]
        read = entity_attention(lm, ids, spans, range(lm.n_layers), _edits([one], prompts, n))
        if read.weight is not None:
            found[number * n : (number + 1) * n] = read.weight.mean(0)
    return found


def kl_on_text(of: EntityStudy, conditions: Sequence[Condition], split: str) -> dict[Condition, np.ndarray]:
    """Condition -> [sequences] KL of next tokens on ordinary text of a split, edited at all positions or in the weights."""
    lm = language_model(of.study.model)
    held_out = stored_sequences(of.study.warehouse, of.study.collection, splits=[split])
    sequences = [q.token_ids for q in evenly_spaced(held_out, of.settings.interventions.n_sequences)]
    size = len(sequences) or 1
    edited = [one for one in conditions if one.layer is not None]
    edits = [partial(_text_edits, one) for one in edited]
    found = dict(zip(edited, text_kls(lm, sequences, edits, batch_size=size)))
    for one in conditions:
        if one.kind == ORTHOGONALISE and one.changed is not None:
            changed = partial(orthogonalised, lm, one.changed.vector)
            found[one] = text_kl(lm, sequences, changed=changed, batch_size=size)
    return found


def _text_edits(condition: Condition, batch: Sequence[np.ndarray]) -> list[GenerationEdit]:
    assert condition.changed is not None
    places = Places("all", [len(ids) for ids in batch])
    return [placed(condition.changed.change(condition.kind), places, condition.changed.row.layer)]
