"""Graders and the refusal detector against answers graded by hand, and the faults of the study one by one."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from ato.entities.answer_names import any_name_in, any_person_in
from ato.entities.catalog import Attribute
from ato.entities.graders import GRADERS, grade
from ato.entities.numbers import coordinates_in, numbers_in
from ato.entities.questions import TEMPLATES
from ato.entities.refusals import is_refusal
from ato.entities.words import similarity
from ato.errors import InputError, SettingsError

LABELLED = Path(__file__).parent / "labelled_answers.jsonl"


@dataclass(frozen=True)
class Labelled:
    template: str
    completion: str
    attribute: Attribute
    grade: str
    held_out: bool


def labelled() -> list[Labelled]:
    answers = []
    for line in LABELLED.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        attribute = Attribute("value", record["value"], tuple(record.get("aliases", ())))
        answers.append(
            Labelled(record["template"], record["completion"], attribute, record["grade"], "held_out" in record)
        )
    return answers


def precision_and_recall(pairs: list[tuple[bool, bool]]) -> tuple[float, float, int]:
    """Of (said, true)."""
    both = sum(said and true for said, true in pairs)
    return both / sum(said for said, _ in pairs), both / sum(true for _, true in pairs), len(pairs)


def measured(held_out: bool) -> dict[str, tuple[float, float, int]]:
    """Grader or ``refusals`` -> precision, recall and number of labelled answers.

    Those held out were written after the graders, which were not changed for them.
    """
    pairs: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for answer in labelled():
        if answer.held_out != held_out:
            continue
        template = TEMPLATES[answer.template]
        given = grade(template, answer.attribute, answer.completion).grade
        pairs[template.grader].append((given == "correct", answer.grade == "correct"))
        if answer.grade != "correct":  # a right answer in doubt is right, whatever the detector says of it
            pairs["refusals"].append((is_refusal(answer.completion), answer.grade == "abstain"))
    return {name: precision_and_recall(found) for name, found in pairs.items()}


@pytest.mark.parametrize(("held_out", "precise", "complete"), [(False, 0.88, 0.9), (True, 0.8, 0.65)])
def test_graders_and_detector_agree_with_the_labelled_answers(held_out, precise, complete):
    """Half of the answers are hard negatives: precision on a model's answers is higher. The figures are printed (-s)."""
    figures = measured(held_out)
    for name, (precision, recall, n) in sorted(figures.items()):
        print(f"{name}: precision {precision:.3f}, recall {recall:.3f}, n {n}")
    assert set(figures) == {*GRADERS, "refusals"}
    for name, (precision, recall, _) in figures.items():
        assert precision >= precise, name
        assert recall >= complete, name


def test_enough_answers_are_labelled_and_none_twice():
    answers = labelled()
    assert len(answers) >= 300
    assert len(set(answers)) == len(answers)


@pytest.mark.parametrize("template", [name for name in TEMPLATES if not name.endswith("is_known")])
def test_every_template_grades_its_right_answer_correct_and_a_refusal_as_abstaining(template):
    kind = TEMPLATES[template].grader
    words = ("Kurosawa", "Kurosawa") if kind in ("name", "person", "genre") else ("1950", "1950")
    value, said = ("Point(2 48)", "48 N, 2 E") if kind == "geo" else words
    attribute = Attribute("value", value)
    assert grade(TEMPLATES[template], attribute, f" {said}.").grade == "correct"
    assert grade(TEMPLATES[template], attribute, " I'm sorry, I do not know.").grade == "abstain"
    assert grade(TEMPLATES[template], attribute, " whatever").grade == "wrong"


def test_an_invented_entity_has_no_right_answer():
    assert grade(TEMPLATES["city_country"], None, " France").grade == "wrong"
    assert grade(TEMPLATES["city_country"], None, " I'm not familiar with it").grade == "abstain"


def test_the_name_of_grader_and_detector_hold_their_versions():
    assert grade(TEMPLATES["city_country"], None, "").grader == "name-1 refusals-1"


def test_what_no_grader_reads_is_an_error_of_one_line():
    with pytest.raises(SettingsError, match="city_is_known have no grader"):
        grade(TEMPLATES["city_is_known"], None, "Yes")
    for template, value in (("city_location", "48, 2"), ("city_population", "many"), ("city_country", " ,")):
        with pytest.raises(InputError, match="right answer"):
            grade(TEMPLATES[template], Attribute("value", value), "5")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2,165,423 people", [2165423]),
        ("90, 95", [90, 95]),
        ("90,95", [90, 95]),
        ("1990-1995", [1990, 1995]),
        ("it is -5.5 m", [-5.5]),
        ("1.5 million", [1.5e6]),
        ("384 BC", [-384]),
        ("the 19th century, the 1950s", []),
        ("abc12", []),
        ("12 km²", [12]),
    ],
)
def test_numbers_are_read_as_they_are_written(text, numbers):
    assert numbers_in(text) == numbers


def test_one_number_is_no_pair_of_coordinates_and_minutes_are_sixtieths():
    assert coordinates_in("about 10 km") is None
    assert coordinates_in("33°51'36\"S 151°12'E") == pytest.approx((-33.86, 151.2))


def test_similarity_is_the_indel_ratio():
    """Oracle: twice the longest common subsequence by the textbook recursion."""
    for a, b in (("dostoevsky", "dostoyevsky"), ("austria", "australia"), ("abc", "xyz"), ("a" * 70, "a" * 65 + "b")):
        rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                rows[i + 1][j + 1] = rows[i][j] + 1 if x == y else max(rows[i][j + 1], rows[i + 1][j])
        assert similarity(a, b) == pytest.approx(200 * rows[-1][-1] / (len(a) + len(b)))


def test_words_scattered_over_an_answer_are_no_name():
    assert not any_name_in(["David Lean"], "a lean man called David")
    assert any_name_in(["David Lean"], "it was Lean, David")  # the order of two neighbours is free in long names
    assert not any_name_in(["Mali"], "Somalia")


def test_a_last_name_behind_another_first_name_is_another_person():
    assert any_person_in(["Francis Ford Coppola"], "Coppola")
    assert any_person_in(["Francis Ford Coppola"], "F. Coppola")
    assert not any_person_in(["Francis Ford Coppola"], "Sofia Coppola")


@pytest.mark.parametrize(
    "text",
    [
        "not aware of it",
        "I'm not familiar with that",
        "provide me with more details",
        "there doesn't seem to be any",
        "There is no evidence of that",
        "I’m sorry",
    ],
)
def test_phrases_that_commas_or_capitals_had_disabled_match(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Unknown was directed by Jaume Collet-Serra",
        "stars a fictional detective",
        "Please note: 1968",
        "As an actor, he is best known for",
        "he was unable to walk",
        "There is no place like home",
        "",
    ],
)
def test_words_of_ordinary_answers_are_no_refusal(text):
    assert not is_refusal(text)
