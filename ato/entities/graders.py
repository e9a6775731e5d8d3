"""Grades of completions: correct, wrong or abstain, by one versioned grader a kind of answer.

The graders are those of the study "Do I Know This Entity?" with its faults mended: names are words in a row and not a set of
words scattered over the answer, parts of words do not count, numbers are read with their thousands, signs and units from the
first sentence that has any, and coordinates need their hemisphere.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ato.entities import refusals
from ato.entities.answer_names import any_name_in, any_person_in
from ato.entities.catalog import Attribute
from ato.entities.numbers import coordinates_in, minutes_of_answer, numbers_in, numbers_of_answer, point
from ato.entities.questions import Template
from ato.entities.words import words_of
from ato.errors import InputError, SettingsError

GRADES = ("correct", "wrong", "abstain")
_GENRES = {
    "sci fi": "science fiction",
    "scifi": "science fiction",
    "rom com": "romantic comedy",
    "biopic": "biographical",
    "biography": "biographical",
    "comedies": "comedy",
    "hip hop music": "hip hop",
    "animated": "animation",
}


@dataclass(frozen=True)
class Grade:
    """The verdict on one completion."""

    grade: str
    """correct, wrong or abstain."""
    grader: str
    """Name and version of the grader and of the refusal detector: ``name-1 refusals-1``."""


@dataclass(frozen=True)
class Grader:
    """Whether a completion holds a right answer: ``correct(attribute, completion, tolerance)``."""

    version: int
    correct: Callable[[Attribute, str, float], bool]


def _name(attribute: Attribute, completion: str, tolerance: float) -> bool:
    return any_name_in(_answers(attribute), completion)


def _person(attribute: Attribute, completion: str, tolerance: float) -> bool:
    return any_person_in(_answers(attribute), completion)


def _number(attribute: Attribute, completion: str, tolerance: float) -> bool:
    return any(
        abs(number - gold) <= tolerance for gold in _golds(attribute) for number in numbers_of_answer(completion)
    )


def _percent(attribute: Attribute, completion: str, tolerance: float) -> bool:
    return any(
        abs(number - gold) <= tolerance * abs(gold)
        for gold in _golds(attribute)
        for number in numbers_of_answer(completion)
    )


def _number_in_list(attribute: Attribute, completion: str, tolerance: float) -> bool:
    golds = [number for part in re.split(r",\s+|,(?!\d{3}\b)", attribute.value) for number in numbers_in(part)]
    if not golds:
        raise InputError("the right answer has no number", where=f"{attribute.name}: {attribute.value}")
    return any(abs(number - gold) <= tolerance for gold in golds for number in minutes_of_answer(completion))


def _genre(attribute: Attribute, completion: str, tolerance: float) -> bool:
    text = _genre_words(completion)
    genres = [_genre_words(re.sub(r"\b(?:film|music)\b", " ", answer.lower())) for answer in _answers(attribute)]
    return any(genre.strip() and genre in text for genre in genres)


def _geo(attribute: Attribute, completion: str, tolerance: float) -> bool:
    gold = point(attribute.value)
    if gold is None:
        raise InputError("the right answer is no Point(lon lat)", where=f"{attribute.name}: {attribute.value}")
    given = coordinates_in(completion)
    if given is None:
        return False
    around = abs((given[1] - gold[1] + 180) % 360 - 180)
    return abs(given[0] - gold[0]) <= tolerance and around <= tolerance


GRADERS: Mapping[str, Grader] = {
    "name": Grader(1, _name),
    "person": Grader(1, _person),
    "number": Grader(1, _number),
    "percent": Grader(1, _percent),
    "number_in_list": Grader(1, _number_in_list),
    "genre": Grader(1, _genre),
    "geo": Grader(1, _geo),
}
"""Name -> grader; whoever changes what one accepts raises its version."""


def grade(template: Template, attribute: Attribute | None, completion: str) -> Grade:
    """``correct`` if the template's grader finds a right answer, else ``abstain`` if it is a refusal, else ``wrong``.

    An entity without the attribute, such as an invented one, has no right answer (attribute None).

    Raises:
        SettingsError: the template has no grader (``is_known``).
        InputError: the right answer is not of the kind that the grader reads.
    """
    if template.grader not in GRADERS:
        raise SettingsError(f"answers to {template.name} have no grader", cure="ask for an attribute")
    grader = GRADERS[template.grader]
    name = f"{template.grader}-{grader.version} refusals-{refusals.VERSION}"
    if attribute is not None and grader.correct(attribute, completion, template.tolerance):
        return Grade("correct", name)
    return Grade("abstain" if refusals.is_refusal(completion) else "wrong", name)


def _answers(attribute: Attribute) -> list[str]:
    answers = [part.strip() for part in attribute.value.split(",")]
    answers = [answer for answer in (*answers, attribute.value, *attribute.aliases) if words_of(answer)]
    if not answers:
        raise InputError("the right answer has no words", where=f"{attribute.name}: {attribute.value!r}")
    return answers


def _golds(attribute: Attribute) -> list[float]:
    golds = [number for answer in (attribute.value, *attribute.aliases) for number in numbers_in(answer)[:1]]
    if not golds:
        raise InputError("the right answer has no number", where=f"{attribute.name}: {attribute.value}")
    return golds


def _genre_words(text: str) -> str:
    padded = f" {' '.join(words_of(text.replace('-', ' ')))} "
    for written, meant in _GENRES.items():
        padded = padded.replace(f" {written} ", f" {meant} ")
    return padded
