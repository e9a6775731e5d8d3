"""Invented names are new, as long as the real ones they are matched to, and the same whatever the order."""

import pytest

from ato.entities.catalog import Attribute, Entity
from ato.entities.invented import invent
from ato.errors import SettingsError

SYLLABLES = ("bar", "cel", "dun", "fos", "gil", "han", "jor", "kel", "lum", "mar", "nor", "pel")


def named(*names: str, entity_type: str = "city") -> list[Entity]:
    return [Entity(entity_type, name, (Attribute("country", "Chad"),), "test") for name in names]


ONE = named(*(f"{a}a{b}o".capitalize() for a in SYLLABLES for b in SYLLABLES if a < b))
TWO = named(
    *(f"{a.capitalize()} {b.capitalize()}ford" for a in SYLLABLES[:6] for b in SYLLABLES[6:]), entity_type="person"
)


def tokens(name: str) -> int:
    return -(-len(name) // 3) + name.count(" ")


def test_names_are_new_and_matched_one_to_one_on_tokens_and_nearly_on_characters():
    real = ONE + [entity for i, entity in enumerate(TWO) if (i // 6 + i) % 2]
    made = invent(real, tokens, 12, 0)
    by_id = {entity.entity_id: entity for entity in real}
    matched = [by_id[entity.source.split()[-1]] for entity in made]
    assert len(made) == len(set(made)) == len({entity.entity_id for entity in matched}) == 24
    for entity, partner in zip(made, matched):
        assert entity.invented
        assert not entity.attributes
        assert entity.entity_type == partner.entity_type
        assert tokens(entity.name) == tokens(partner.name)
        assert abs(len(entity.name) - len(partner.name)) <= 2
        assert len(entity.name.split()) == len(partner.name.split())
    assert not {entity.name for entity in made} & {entity.name for entity in real}


def test_order_does_not_matter_and_the_seed_does():
    assert invent(ONE[::-1], tokens, 9, 0) == invent(ONE, tokens, 9, 0) != invent(ONE, tokens, 9, 1)


def test_what_cannot_be_matched_is_left_out_and_not_forced():
    assert invent(named("Oslo"), tokens, 3, 0) == []
    assert invent(named("A B"), tokens, 3, 0) == []
    assert len(invent(ONE[:9], tokens, 500, 0)) <= 9
    assert invent(ONE, lambda name: hash(name) if name not in {e.name for e in ONE} else -1, 5, 0) == []
    with pytest.raises(SettingsError, match="cannot be invented"):
        invent(ONE, tokens, -1, 0)


def test_names_to_avoid_are_not_made():
    first = {entity.name for entity in invent(ONE, tokens, 9, 0)}
    again = {entity.name for entity in invent(ONE, tokens, 9, 0, avoid=[name.upper() for name in first])}
    assert len(again) == 9
    assert not first & again
