"""Marked text says exactly which tokens were marked, whatever the text holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.marking import Marks, mark, marks_for, whole_characters
from tests.ato.autointerp.marked_text import marked_spans

TOKENS = st.lists(st.sampled_from(["a", " b", "<", "<<", ">", ">>", "[", "]]", "{", "⟦", "", " ", "é", "\n", "ab"]))


@given(TOKENS, st.data())
def test_marked_characters_are_exactly_those_of_the_drawn_tokens(tokens, data):
    marked = data.draw(st.frozensets(st.integers(0, len(tokens) - 1))) if tokens else frozenset()
    marks = marks_for(tokens)
    written = mark(tokens, marked, marks)
    assert written == mark(tokens, marked)
    inside = set()
    for start, end in marked_spans(written, marks):
        inside.update(range(start, end))
    held, expected, place = whole_characters(tokens, marked), set(), 0
    for index, token in enumerate(tokens):
        if index in held:
            expected.update(range(place, place + len(token)))
        place += len(token)
    assert inside == expected
    assert written.replace(marks.open, "").replace(marks.close, "") == "".join(tokens)


def test_several_tokens_are_marked_and_neighbours_share_their_marks():
    assert mark(["The", " cat", " sat", " on", " it"], {0, 2, 3}) == "<<The>> cat<< sat on>> it"
    assert mark(["The", " cat"], ()) == "The cat"
    assert mark([], ()) == ""


def test_a_character_split_over_tokens_is_marked_whole_whichever_of_its_tokens_is_drawn():
    tokens = ["x", "🙂", "", "", "y"]
    for drawn in range(1, 4):
        assert mark(tokens, {drawn}) == "x<<🙂>>y"
    assert whole_characters(["", "", "a"], {0, 1}) == frozenset()


@pytest.mark.parametrize(
    ("texts", "open_"), [(["plain"], "<<"), (["a << b"], "[["), (["x < y", "z[0]"], "{{"), (["<[{⟦⟪"], "\ue000")]
)
def test_texts_that_hold_marks_get_others(texts, open_):
    assert marks_for(texts).open == open_


def test_texts_shown_together_share_marks():
    marks = marks_for(["a", "b << c"])
    assert mark(["a"], {0}, marks) == "[[a]]"
    assert Marks() == marks_for([])
