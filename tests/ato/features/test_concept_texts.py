"""Texts of a phrase share nothing between the halves; the tokens of a span are those of its characters."""

import numpy as np
import pytest

from ato.errors import SettingsError
from ato.features.concept_texts import (
    OTHER_PHRASES,
    OWN_WORD,
    TEMPLATES,
    WITH,
    WITHOUT,
    own_texts,
    phrase_texts,
    span_tokens,
)


def test_halves_share_neither_templates_nor_other_phrases():
    texts = phrase_texts("Golden Gate Bridge", seed=3)
    for number in (-1, 5):
        choosing, measuring = texts.split(number)
        assert (choosing == 1).sum() == (measuring == 1).sum() == len(TEMPLATES) // 2
        assert not {*texts.template[choosing >= 0]} & {*texts.template[measuring >= 0]}
        assert not {*texts.phrase[choosing == 0]} & {*texts.phrase[measuring == 0]}
        assert {*texts.phrase[choosing == 1], *texts.phrase[measuring == 1]} == {number}
        assert number not in texts.phrase[choosing == 0]
    assert -1 not in texts.phrase[texts.label == WITHOUT]


def test_each_text_holds_its_phrase_where_the_span_says():
    texts = phrase_texts("  the Golden   Gate Bridge ")
    assert texts.concept == "the Golden Gate Bridge"
    for text, ((start, end),), label, number in zip(texts.texts, texts.spans, texts.label, texts.phrase):
        named = text[start:end]
        if label == WITH:
            assert named == "the Golden Gate Bridge"
        elif label == OWN_WORD:
            assert named in ("Golden", "Gate", "Bridge")
        else:
            assert named in OTHER_PHRASES
            assert number >= 0


def test_other_phrases_that_share_a_word_are_left_out_and_one_word_has_no_words_of_its_own():
    assert not [text for text in phrase_texts("my Heart").texts if "human heart" in text]
    texts = phrase_texts("jazz")
    assert OWN_WORD not in texts.label
    assert not [text for text in texts.texts if "jazz music" in text]
    assert "the Eiffel Tower" in " ".join(phrase_texts("the moon").texts)  # an article is no word


def test_the_same_seed_gives_the_same_halves_and_another_one_others():
    first, again, other = (phrase_texts("the moon", seed).chooses for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_texts_of_a_user_are_split_within_each_kind():
    texts = own_texts("war", [f"War {i}" for i in range(7)], [f"peace {i}" for i in range(10)], "war", seed=1)
    choosing, measuring = texts.split()
    assert [(labels == kind).sum() for labels in (choosing, measuring) for kind in (1, 0)] == [4, 5, 3, 5]
    assert not ((choosing >= 0) & (measuring >= 0)).any()
    assert texts.spans[0] == [(0, 3)]
    assert texts.has_spans
    assert not own_texts("war", ["a", "b", "c", "war"], ["d", "e", "f", "g"], "war").has_spans


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((["a"] * 3, ["b"] * 9), "3 texts with"),
        ((["a"] * 9, []), "0 texts without"),
        ((list("abcd"), list("defg")), "both with and without the concept: 'd'"),
    ],
)
def test_texts_that_say_nothing_are_refused(own, words):
    with pytest.raises(SettingsError, match=words):
        own_texts("x", *own)


@pytest.mark.parametrize("phrase", ["", "  ", "…"])
def test_an_empty_phrase_is_refused(phrase):
    with pytest.raises(SettingsError, match="the phrase is empty"):
        phrase_texts(phrase)


def test_tokens_of_a_span_overlap_its_characters_without_the_spaces_around_them():
    text = "on  Golden Gate, é"
    offsets = [(0, 2), (2, 3), (3, 10), (10, 15), (15, 16), (16, 17), (16, 18), (17, 18)]
    assert span_tokens(text, offsets, [(4, 15)]).tolist() == [False, False, True, True, False, False, False, False]
    assert span_tokens(text, offsets, [(17, 18), (0, 1)]).tolist() == [True] + [False] * 5 + [True, True]
    assert span_tokens(text, [(0, 0), (4, 4)], [(0, 9)]).tolist() == [False, False]
