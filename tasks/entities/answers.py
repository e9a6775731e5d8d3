"""Stage ``entity_answers``: the model is asked about every entity, and its answers are graded, part by part."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ato.entities.catalog import Attribute, Entity
from ato.entities.graders import grade
from ato.entities.prompts import Dropped, Prompt, PromptMaker
from ato.entities.questions import TEMPLATES, Template, template_name
from ato.errors import SettingsError
from ato.numerics.counter_rng import uniforms
from tasks.engine.model_cache import language_model
from tasks.engine.parallel_parts import part_task, run_parts
from tasks.engine.progress import Progress, say
from tasks.entities.sets import stored_entities
from tasks.entities.stages import EntityStudy, part_numbers, part_of

if TYPE_CHECKING:
    from ato.models.generation import Decoding

_ROWS_OF_ONE = 3
"""Rows that a question's answers are run in, roughly: those that begin alike share one."""


@dataclass(frozen=True)
class Question:
    """One attribute of one entity."""

    entity: Entity
    attribute: Attribute
    name: str
    """Of its template."""

    @property
    def template(self) -> Template:
        """How it is asked, and graded."""
        return TEMPLATES[self.name]


def questions_of(entities: Sequence[Entity], attributes: Sequence[str] | None) -> list[Question]:
    """All questions about real entities, attribute by attribute, in the order of their ids.

    Raises:
        SettingsError: an attribute of the settings that no entity has a value and a template for, or none at all.
    """
    found = [
        Question(entity, attribute, name)
        for entity in sorted(entities, key=lambda entity: entity.entity_id)
        for attribute in entity.attributes
        if (attributes is None or attribute.name in attributes)
        and (name := template_name(entity.entity_type, attribute.name)) in TEMPLATES
    ]
    asked = {question.attribute.name for question in found}
    if missing := sorted(set(attributes or ()) - asked):
        possible = sorted(
            {
                attribute.name
                for entity in entities
                for attribute in entity.attributes
                if template_name(entity.entity_type, attribute.name) in TEMPLATES
            }
        )
        raise SettingsError(
            f"nothing can be asked about {', '.join(missing)}",
            where="entities.answers.attributes",
            cure=f"choose from {', '.join(possible) or 'none: no attribute has a template'}",
        )
    if not found:
        raise SettingsError(
            "no attribute of these entities has a template",
            where="entities.set.sources",
            cure="see `ato.entities.questions`",
        )
    return sorted(found, key=lambda question: question.attribute.name)


def answer_questions(of: EntityStudy, parts: int = 1) -> None:
    """Ask and grade what was not asked yet; a killed run goes on with the part that it was at."""
    entities = stored_entities(of.study.warehouse, of.set.key)
    questions = questions_of(entities, of.settings.answers.attributes)
    missing = [number for number in part_numbers(len(questions)) if not of.answer_part(number).complete]
    if not missing:
        say("entities", f"{of.answering} is complete, skipped")
        return
    n, per_question = len(questions), of.settings.answers.n_samples + 1
    attributes = sorted({question.attribute.name for question in questions})
    say("entities", f"{n:,} questions about {', '.join(attributes)}, {per_question} answers each")
    if parts > 1:
        run_parts("entity answers", answer_share, [missing[i::parts] for i in range(min(parts, len(missing)))], of)
        return
    with Progress(
        "entity answers", sum(len(part_of(questions, number)) for number in missing), "questions"
    ) as progress:
        for number in missing:
            _answer_part(of, number, questions, progress)


@part_task("entity answers, part")
def answer_share(numbers: list[int], of: EntityStudy) -> None:
    """Some parts of the answers, those left out that an attempt before this one completed."""
    questions = questions_of(stored_entities(of.study.warehouse, of.set.key), of.settings.answers.attributes)
    with Progress("entity answers", len(numbers), "parts") as progress:
        for number in numbers:
            if not of.answer_part(number).complete:
                _answer_part(of, number, questions, None)
            progress.advance()


def _answer_part(of: EntityStudy, number: int, questions: Sequence[Question], progress: Progress | None) -> None:
    settings, lm = of.settings.answers, language_model(of.study.model)
    maker = PromptMaker(lm.tokenizer, settings.family)
    prompts = [(question, maker.question(question.entity, question.name)) for question in part_of(questions, number)]
    asked = [(question, prompt) for question, prompt in prompts if isinstance(prompt, Prompt)]
    if dropped := [prompt for _, prompt in prompts if isinstance(prompt, Dropped)]:
        say("entities", f"{len(dropped)} questions not asked: {dropped[0].reason}")
    facts = {"collection": of.study.collection, "answering": of.answering, "family": settings.family}
    with of.answer_part(number) as stage:
        rows: list[dict[str, Any]] = []
        at_once = max(1, settings.batch_size // _ROWS_OF_ONE)
        for start in range(0, len(asked), at_once):
            batch = asked[start : start + at_once]
            rows += [facts | row for row in _answers(of, batch, questions)]
            if progress is not None:
                progress.advance(len(batch))
        stage.write("entity_answers", rows)
        stage.tokens_run = sum(len(prompt.token_ids) for _, prompt in asked) + sum(row["n_tokens"] for row in rows)


def decoding_of(of: EntityStudy, *, n_samples: int, max_new_tokens: int) -> "Decoding":
    """How the model answers: a line at most."""
    from ato.models.generation import Decoding, end_ids

    settings = of.settings.answers
    return Decoding(
        max_new_tokens=max_new_tokens,
        n_samples=n_samples,
        temperature=settings.temperature,
        stop_ids=end_ids(language_model(of.study.model)),
        stop_at_newline=settings.family != "chat_free",
        batch_size=settings.batch_size,
        seed=of.settings.set.seed,
    )


def _answers(
    of: EntityStudy, batch: Sequence[tuple[Question, Prompt]], questions: Sequence[Question]
) -> Iterator[dict[str, Any]]:
    """Rows of one batch of questions."""
    from ato.models.generation import completion_text, generate

    lm, settings = language_model(of.study.model), of.settings.answers
    decoding = decoding_of(of, n_samples=settings.n_samples, max_new_tokens=settings.max_new_tokens)
    p_correct = _p_correct(of, batch, questions)
    for answer in generate(lm, [prompt.token_ids for _, prompt in batch], decoding):
        question, text = batch[answer.prompt][0], completion_text(lm, answer, decoding)
        graded = grade(question.template, question.attribute, text)
        yield {
            "entity_id": question.entity.entity_id,
            "attribute": question.attribute.name,
            "template": question.name,
            "sample": answer.sample,
            "completion": text,
            "grade": graded.grade,
            "grader": graded.grader,
            "log_probability": answer.log_probability,
            "n_tokens": len(answer.token_ids),
            "p_correct": p_correct[answer.prompt] if answer.sample == 0 else None,
        }


def _p_correct(
    of: EntityStudy, batch: Sequence[tuple[Question, Prompt]], questions: Sequence[Question]
) -> list[float | None]:
    """Probability of each gold answer among itself and distractors: other entities' values of the same attribute."""
    from ato.models.scoring import answer_log_probabilities, p_correct

    n = of.settings.answers.n_distractors
    if not n:
        return [None] * len(batch)
    lm = language_model(of.study.model)
    values: dict[str, list[str]] = {}
    for question in questions:
        values.setdefault(question.name, []).append(first_value(question.attribute))
    candidates = [[first_value(q.attribute), *_distractors(q, values[q.name], n)] for q, _ in batch]
    gap = " " if of.settings.answers.family == "continuation" else ""
    answers = [[_ids(lm.tokenizer, gap + text) for text in texts] for texts in candidates]
    size = of.settings.answers.batch_size
    found = answer_log_probabilities(lm, [prompt.token_ids for _, prompt in batch], answers, batch_size=size)
    return [p_correct(log_p[:1], log_p[1:]) if len(log_p) > 1 else None for log_p in found]


def first_value(attribute: Attribute) -> str:
    """The first of several values, as one would say it."""
    return re.split(r",\s+", attribute.value)[0].strip()


def _distractors(question: Question, values: Sequence[str], n: int) -> list[str]:
    """At most n wrong values of other entities, drawn by hash: what stands beside a question changes nothing.

    None for coordinates, which nobody says as they are stored.
    """
    if question.template.grader == "geo":
        return []
    others, found = sorted(set(values)), list[str]()
    keys = uniforms(int(question.entity.entity_id, 16) >> 1, np.arange(len(others)))
    for i in np.argsort(keys, kind="stable"):
        if len(found) < n and grade(question.template, question.attribute, others[i]).grade != "correct":
            found.append(others[i])
    return found


def _ids(tokenizer: Any, text: str) -> np.ndarray:
    return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
