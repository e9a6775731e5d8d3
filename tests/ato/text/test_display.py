"""What a text may not do to those who read it."""

import pytest

from ato.text.display import visible


@pytest.mark.parametrize("character", [chr(code) for code in (*range(32), *range(127, 160))])
def test_a_control_character_is_shown_and_not_obeyed(character):
    assert visible(f"a{character}b").isprintable()
    assert visible(character) != character


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_a_change_of_direction_is_shown_and_not_obeyed(code):
    assert visible(f"a{chr(code)}b") == "a\ufffdb"


def test_ordinary_text_of_any_script_stays_and_line_ends_on_request():
    text = "naïve 日本語 שלום\u200f 👩\u200d🔬"
    assert visible(text) == text
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible("a\nb") == "a\u240ab"
