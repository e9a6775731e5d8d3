"""Identity, duplicates, splits and draws of entities depend on hashes and on nothing else."""

import hashlib
import random
from collections import Counter

import pytest

from ato.entities.catalog import Attribute, Entity, distinct, draw, entity_split, without_answers_in_names
from ato.errors import SettingsError

FACT = (Attribute("country", "Chad"),)


def city(name: str, popularity: float | None = None, **options) -> Entity:
    return Entity("city", name, options.pop("attributes", FACT), "test", popularity, **options)


def test_the_id_is_the_hash_of_type_and_name_and_differs_for_the_invented():
    assert city("Abéché").entity_id == hashlib.sha256("city\nAbéché".encode()).hexdigest()[:16]
    assert city("X", invented=True).entity_id == hashlib.sha256(b"invented\ncity\nX").hexdigest()[:16]
    assert city("X", 5.0).entity_id == city("X", attributes=()).entity_id


def test_half_of_the_entities_are_train_a_tenth_validation_and_the_rest_test():
    ids = [city(f"c{i}").entity_id for i in range(20_000)]
    counts = Counter(entity_split(entity_id, 0) for entity_id in ids)
    for split, share in (("train", 0.5), ("validation", 0.1), ("test", 0.4)):
        assert counts[split] / len(ids) == pytest.approx(share, abs=0.015)
    assert [entity_split(i, 0) for i in ids[:50]] != [entity_split(i, 1) for i in ids[:50]]


def test_of_duplicates_the_most_popular_stays_then_the_first_and_drops_are_counted():
    entities = [city("A", 1), city("A", 7), city("A", 7, attributes=()), city(" "), city("B", attributes=()), city("C")]
    kept, dropped = distinct([*entities, city("C"), city("D", attributes=(), invented=True)])
    assert [(entity.name, entity.popularity) for entity in kept] == [("A", 7), ("C", None), ("D", None)]
    assert dropped == {"duplicate": 2, "no attribute": 2, "empty name": 1}


def test_half_of_a_draw_are_the_most_popular_and_order_does_not_matter():
    entities = [city(f"c{i}", float(i)) for i in range(400)] + [Entity("song", "s", FACT, "test")]
    drawn = draw(entities, 41, 3)
    shuffled = random.Random(0).sample(entities, len(entities))
    assert draw(shuffled, 41, 3) == drawn
    names = {entity.name for entity in drawn}
    assert {f"c{i}" for i in range(379, 400)} <= names
    assert len(drawn) == 42
    assert {e.name for e in draw(entities, 41, 4)} != names


def test_a_draw_without_popularity_is_uniform_and_does_not_favour_a_split():
    entities = [city(f"c{i}") for i in range(4000)]
    drawn = draw(entities, 1000, 0)
    train = sum(entity_split(entity.entity_id, 0) == "train" for entity in drawn)
    assert abs(train - 500) < 4 * 250**0.5


def test_one_entity_more_displaces_one_at_most():
    entities = [city(f"c{i}") for i in range(300)]
    before, after = (set(draw(many, 50, 0)) for many in (entities, [*entities, city("new")]))
    assert len(before - after) <= 1


def test_drawing_too_many_gives_all_and_a_negative_number_is_an_error():
    entities = [city("A", 1.0), city("B")]
    assert set(draw(entities, 9, 0)) == set(entities)
    assert draw(entities, 0, 0) == []
    with pytest.raises(SettingsError, match="-1 entities"):
        draw(entities, -1, 0)


def test_an_answer_in_the_name_is_no_question():
    facts = [Attribute("country", "Mexico"), Attribute("population", "9"), Attribute("creator", "Ann, Goethe")]
    assert [a.name for a in without_answers_in_names("Mexico City", facts)] == ["population", "creator"]
    assert [a.name for a in without_answers_in_names("Goethe's Faust", facts)] == ["country", "population"]
