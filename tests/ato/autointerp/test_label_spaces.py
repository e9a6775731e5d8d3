"""Label spaces are read with errors that say where, and judges' values are kept only if they belong to them."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ato.autointerp.label_spaces import label_space, parse_label_space
from ato.errors import SettingsError

ANIMALS = """
name: animals
properties:
  - name: kind
    meaning: What kind of animal is meant?
    values:
      - {name: pet, meaning: lives with people, words: [Cat, dog]}
      - {name: wild, meaning: lives without them}
  - name: fur
    meaning: What is its fur like?
    when: {kind: pet}
    values: [{name: long, meaning: long}, {name: short, meaning: short}]
"""


@pytest.fixture
def animals():
    return parse_label_space(yaml.safe_load(ANIMALS))


def test_a_file_of_one_s_own_is_read(tmp_path):
    file = tmp_path / "animals.yaml"
    file.write_text(ANIMALS)
    kind, fur = label_space(str(file)).properties
    assert [value.name for value in kind.values] == ["pet", "wild"]
    assert kind.values[0].words == {"cat", "dog"}
    assert fur.when == ("kind", "pet")


def test_the_categories_of_the_package_have_what_follows_from_each():
    space = label_space("feature-categories")
    assert {of.name: [value.name for value in of.values] for of in space.properties} == {
        "category": ["language", "domain", "reasoning", "uninterpretable"],
        "confidence": ["high", "medium", "low"],
        "domain_type": ["math", "science", "code"],
        "mechanism": ["output", "input_simple", "input_abstract"],
    }
    assert {of.name: of.when for of in space.properties if of.when} == {
        "domain_type": ("category", "domain"),
        "mechanism": ("category", "reasoning"),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("name"), "name is missing"),
        (lambda s: s.update(properties=[]), "properties is missing"),
        (lambda s: s.update(properties={"a": 1}), "properties is not a list"),
        (lambda s: s.update(colour="red"), "unknown key 'colour'.*use name, properties"),
        (lambda s: s["properties"][0].update(name=True), r"name: True is not text.*property 1.*between quotes"),
        (lambda s: s["properties"][1].update(when={"kind": "fish"}), "when: .* cannot be met"),
        (lambda s: s["properties"][0].update(when={"fur": "long"}), "when: .* cannot be met"),
        (lambda s: s["properties"][1].update(when="pet"), "when: 'pet' cannot be met"),
        (lambda s: s["properties"][1].update(when={"kind": ["pet"]}), "cannot be met"),
        (lambda s: s["properties"][1].update(name="kind"), "the name 'kind' stands twice"),
        (lambda s: s["properties"][0]["values"][1].update(name="pet"), "the name 'pet' stands twice.*property 1"),
        (lambda s: s["properties"][0]["values"][0].update(words=[1]), "the word 1 is not text.*property 1, value 1"),
        (lambda s: s["properties"][0]["values"][0].pop("meaning"), "meaning is missing"),
        (lambda s: s["properties"].append("fur"), "no record of name, meaning, values.*property 3"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(change, message):
    record = yaml.safe_load(ANIMALS)
    change(record)
    with pytest.raises(SettingsError, match=message) as error:
        parse_label_space(record, "animals.yaml")
    assert "\n" not in str(error.value)


def test_missing_files_and_files_that_are_not_yaml_say_so(tmp_path):
    with pytest.raises(SettingsError, match="no label space 'nonesuch': use feature-categories or"):
        label_space("nonesuch")
    for content in ("a: [", "- a\n- b", ""):
        file = tmp_path / "wrong.yaml"
        file.write_text(content)
        with pytest.raises(SettingsError, match=r"wrong\.yaml"):
            label_space(str(file))
    with pytest.raises(SettingsError):
        label_space("../spaces/feature-categories")


@pytest.mark.parametrize(
    ("given", "kept", "reason"),
    [
        ({"kind": "pet", "fur": "long"}, ("pet", "long"), None),
        ({"kind": "wild", "fur": "long"}, ("wild", None), None),
        ({"kind": "pet"}, ("pet", None), "fur not given"),
        ({"kind": "fish", "fur": "long"}, (None, None), "kind is 'fish'"),
        ({"kind": ["pet"]}, (None, None), "kind is \"['pet']\""),
        ("pet", (None, None), "kind not given"),
        (None, (None, None), "kind not given"),
    ],
)
def test_values_are_kept_only_where_they_apply_and_belong_to_the_space(animals, given, kept, reason):
    assert animals.checked(given) == ({"kind": kept[0], "fur": kept[1]}, reason)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["kind", "fur", "x"]), st.one_of(st.none(), st.integers(), st.text(max_size=3))))
def test_whatever_a_judge_says_only_values_of_the_space_are_kept(given):
    space = parse_label_space(yaml.safe_load(ANIMALS))
    values, _ = space.checked(given)
    for of in space.properties:
        assert values[of.name] in {None, *(value.name for value in of.values)}
