"""The built-in sets hold the facts that everyone can check."""

import pytest

from ato.entities.articles import person_attributes, work_attributes
from ato.entities.catalog import distinct
from ato.entities.questions import TEMPLATES
from ato.entities.sets import SETS, read_set


def facts(set_name: str, name: str) -> dict[str, str]:
    entities, _ = distinct(read_set(set_name))
    return next({a.name: a.value for a in entity.attributes} for entity in entities if entity.name == name)


@pytest.mark.parametrize(
    ("set_name", "name", "expected"),
    [
        pytest.param("cities", "Paris", {"country": "France"}, marks=pytest.mark.slow),
        ("countries", "Kenya", {"capital": "Nairobi", "continent": "Africa"}),
        pytest.param("films", "Skyfall", {"directors": "Sam Mendes", "release_year": "2012"}, marks=pytest.mark.slow),
        ("people", "Jules Verne", {"birth_year": "1828", "occupation": "writer"}),
        ("works", "2001: A Space Odyssey", {"creator": "Stanley Kubrick", "year": "1968"}),
    ],
)
def test_known_facts_are_there_with_a_template_for_each_attribute(set_name, name, expected):
    found = facts(set_name, name)
    assert expected.items() <= found.items()
    entities = read_set(set_name)
    assert {f"{e.entity_type}_{a.name}" for e in entities for a in e.attributes} <= set(TEMPLATES)
    assert all(a.value.strip() for e in entities for a in e.attributes)
    assert {"cities": 34_006, "countries": 252, "films": 17_472, "people": 1_789, "works": 200}[set_name] == len(
        entities
    )


def test_every_set_says_where_it_is_from():
    assert "CC BY-SA" in read_set("people")[0].source
    assert all(SETS[name]()[0].source for name in ("countries", "works"))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("American photographer (1902–1984)", {"birth_year": "1902", "occupation": "photographer"}),
        ("Roman politician, soldier and writer (234–149 BC)", {"birth_year": "-234", "occupation": "politician, soldier, writer"}),
        ("Italian Renaissance sculptor (c. 1386–1466)", {"occupation": "sculptor"}),
        ("President of France (1974–1981)", {"occupation": "president"}),
        ("Duke and King of Poland (r. 992–1025)", {"occupation": "king"}),
        ("Businessman (born 1971)", {"birth_year": "1971", "occupation": "businessman"}),
        ("Founder of the Durrani Empire", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_descriptions_of_people_give_sure_years_and_occupations(description, expected):
    assert {a.name: a.value for a in person_attributes(description)} == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("1968 film by Stanley Kubrick", {"creator": "Stanley Kubrick", "year": "1968"}),
        ("1605–1615 novel by Miguel de Cervantes", {"creator": "Miguel de Cervantes", "year": "1605"}),
        ("4th-century BC work by Xenophon on the expedition of the Ten Thousand", {"creator": "Xenophon"}),
        ("1952 film by Gene Kelly and Stanley Donen", {"creator": "Gene Kelly, Stanley Donen", "year": "1952"}),
        ("1939 film based on the book by L. Frank Baum", {}),
        ("Classification of music by tradition or style", {}),
    ],
)
def test_descriptions_of_works_give_creator_and_year(description, expected):
    assert {a.name: a.value for a in work_attributes(description)} == expected
