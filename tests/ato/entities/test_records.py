"""Entities of a user's files: the record form, CSV, raw Wikidata dumps, and every malformed file as one line with its line."""

import json

import pytest

from ato.entities.catalog import Attribute
from ato.entities.records import entities_of
from ato.entities.sets import SETS, read_set
from ato.errors import InputError

FACTS = [{"attribute_type": "country", "attribute_value": "United States"}]
RECORD = {"entity": "Reno", "entity_type": "city", "attributes": FACTS}


def written(tmp_path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def test_json_lines_lists_and_csv_of_the_same_facts_are_the_same_entities(tmp_path):
    second = {
        "entity": "Ngoïla",
        "entity_type": "city",
        "attributes": [
            {"attribute_type": "city_country", "attribute_value": "Cameroon"},
            {"attribute_type": "population", "attribute_value": 5000},
        ],
    }
    paths = [
        written(tmp_path, "a.jsonl", f"{json.dumps(RECORD)}\n\n{json.dumps(second)}\n"),
        written(tmp_path, "a.json", json.dumps([RECORD, second], indent=1)),
        written(
            tmp_path,
            "a.csv",
            "entity,entity_type,attribute_type,attribute_value\nReno,city,country,United States\n"
            "Ngoïla,city,country,Cameroon\nNgoïla,city,population,5000\n",
        ),
    ]
    first, *others = ([(e.name, e.entity_type, e.attributes) for e in read_set(path)] for path in paths)
    assert first[0][2][0].aliases == ("United States of America", "US", "USA", "America")
    assert first[1][2] == (Attribute("country", "Cameroon"), Attribute("population", "5000"))
    assert others == [first, first]
    assert read_set(paths[0])[0].source == paths[0]


def test_a_missing_value_is_no_attribute_and_values_of_one_name_are_joined():
    facts = [
        {"attribute_type": "cast", "attribute_value": "A", "aliases": ["a"]},
        {"attribute_type": "cast", "attribute_value": "B"},
        {"attribute_type": "directors", "attribute_value": None},
        {"attribute_type": "genres", "attribute_value": " "},
    ]
    (entity,) = entities_of([{**RECORD, "attributes": facts, "popularity": 3, "source": "mine"}], "records")
    assert entity.attributes == (Attribute("cast", "A, B", ("a",)),)
    assert (entity.popularity, entity.source) == (3.0, "mine")


@pytest.mark.parametrize(
    ("row", "entity_type", "attributes"),
    [
        ({"human": "Q1", "humanLabel": "P", "teamslist": "X, Y", "recent_mass": "90"}, "player", {"teams_list": "X, Y", "weight": "90"}),
        ({"film": "Q1", "filmLabel": "F", "cast_list": "A, B", "release_year": "1999"}, "movie", {"cast": "A, B", "release_year": "1999"}),
        (
            {"cityLabel": "C", "countryLabel": "Chad", "loc": "Point(1 2)", "above_sea_meters": "3"},
            "city",
            {"country": "Chad", "location": "Point(1 2)", "elevation": "3"},
        ),
        ({"songLabel": "S", "albumLabel": "A", "publicationYear": "1970"}, "song", {"album": "A", "publication_year": "1970"}),
    ],
)  # fmt: skip
def test_raw_wikidata_dumps_read(tmp_path, row, entity_type, attributes):
    (entity,) = read_set(written(tmp_path, "raw.json", json.dumps([row])))
    assert entity.entity_type == entity_type
    assert {a.name: a.value for a in entity.attributes} == attributes


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "there are no entities"),
        ("a.json", "", "there are no entities"),
        ("a.csv", "", "there are no entities"),
        ("a.json", "[]", "there are no entities"),
        ("a.json", "{}", "no list of records"),
        ("a.json", '[\n{"entity": 1,]', "line 2"),
        ("a.jsonl", json.dumps(RECORD) + "\n{", "line 2"),
        ("a.jsonl", "[1]", "a record is no mapping .*line 1"),
        ("a.json", json.dumps([RECORD, {**RECORD, "colour": 1}], indent=1), "unknown key colour .*line 12"),
        ("a.jsonl", json.dumps({**RECORD, "entity": None}), "entity is missing"),
        ("a.jsonl", json.dumps({**RECORD, "entity_type": ""}), "entity_type is empty"),
        ("a.jsonl", json.dumps({**RECORD, "attributes": "x"}), "attributes are missing or no list"),
        ("a.jsonl", json.dumps({**RECORD, "attributes": [{"attribute_type": "a"}]}), "attribute_value of a is missing"),
        ("a.jsonl", json.dumps({**RECORD, "attributes": [{**FACTS[0], "b": 1}]}), "unknown key b of an attribute"),
        ("a.jsonl", json.dumps({**RECORD, "popularity": "much"}), "popularity 'much' is no number"),
        ("a.csv", "entity,kind\nx,y\n", "the columns are entity, kind .*line 1"),
        ("a.csv", "entity,entity_type,attribute_type,attribute_value\na,city,country\n", "4 cells .*line 2"),
        ("a.txt", "", "cannot be read from such a file"),
    ],
)
def test_a_malformed_file_is_an_error_of_one_line(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as raised:
        read_set(written(tmp_path, name, text))
    assert "\n" not in str(raised.value)


def test_what_is_no_file_and_no_set_is_an_error_that_names_the_sets(tmp_path):
    with pytest.raises(InputError, match="cities, countries, films, people, works"):
        read_set("towns")
    with pytest.raises(InputError, match="no such file"):
        read_set(str(tmp_path / "none.json"))
    (tmp_path / "latin.json").write_bytes(b"\xe9")
    with pytest.raises(InputError, match="not UTF-8 at byte 0"):
        read_set(str(tmp_path / "latin.json"))


def test_there_are_five_built_in_sets():
    assert list(SETS) == ["cities", "countries", "films", "people", "works"]
