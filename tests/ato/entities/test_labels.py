"""Labels follow the study's thresholds, lowered where fewer attributes are asked."""

import pytest

from ato.entities.labels import LabelRule, label
from ato.errors import InputError, SettingsError


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ({"a": 3, "b": 10, "c": 0}, "known"),
        ({"a": 3, "b": 2, "c": 2}, "between"),
        ({"a": 2, "b": 2}, "unknown"),
        ({"a": 3}, "known"),
        ({"a": 2}, "unknown"),
    ],
)
def test_known_needs_two_recalled_attributes_or_all_that_were_asked(right, expected):
    assert label(right, 10) == expected


def test_thresholds_are_settings_and_stand_in_the_text():
    rule = LabelRule(min_right_samples=1, known_attributes=3)
    assert label({"a": 1, "b": 1, "c": 0}, 5, rule) == "between"
    assert ">= 1 drawn" in rule.text
    assert ">= 3 attributes" in rule.text


def test_what_cannot_be_labelled_is_an_error():
    with pytest.raises(SettingsError, match="of 2 samples 3 cannot be right"):
        label({"a": 1}, 2)
    with pytest.raises(SettingsError, match="at least 1"):
        LabelRule(0)
    with pytest.raises(InputError, match="nothing was asked"):
        label({}, 10)
    with pytest.raises(InputError, match="not within"):
        label({"a": 11}, 10)
