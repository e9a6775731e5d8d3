"""The token overlap judge describes by distinctive words and answers by words alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.label_spaces import label_space
from ato.autointerp.overlap_judge import Background, OverlapJudge
from ato.autointerp.questions import (
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
)
from ato.autointerp.word_forms import active_words, described_words, marked_words, quoted, words_of
from ato.features.excerpts import Excerpt
from tests.ato.autointerp.planted_features import excerpt, origin

JUDGE = OverlapJudge()


def value(question, judge=JUDGE):
    (answer,) = judge.answer([question])
    return answer.value


def describe(*examples, judge=JUDGE, candidate=0):
    return value(DescriptionQuestion(1, examples, candidate=candidate), judge)


def test_words_of_several_tokens_are_active_where_any_of_them_is():
    one = Excerpt((" un", "bel", "ievable", "🙂", "", " it", "'s"), (0, 2.0, 0, 0, 1.0, 0, 0), origin(1))
    assert active_words(one) == ({"unbelievable"}, {"🙂", "it", "'", "s"})
    assert marked_words(one, {3, 6}) == (["🙂", "'", "s"], ["unbelievable", "it"])
    assert active_words(Excerpt((), (), origin(1))) == (set(), set())


@given(st.lists(st.text(max_size=5)), st.data())
def test_a_word_is_marked_if_and_only_if_a_marked_token_has_one_of_its_characters(tokens, data):
    marked = data.draw(st.frozensets(st.integers(0, len(tokens) - 1))) if tokens else frozenset()
    one = Excerpt(tuple(tokens), (0.0,) * len(tokens), origin(1))
    character = [i in marked for i, token in enumerate(tokens) for _ in token]
    words = words_of(one.text)
    expected = [form for form, a, b in zip(words.forms, words.starts, words.ends) if any(character[a:b])]
    assert marked_words(one, marked)[0] == expected


def test_words_that_also_stand_silent_are_less_distinctive():
    examples = [excerpt("a cat and a horse", "cat", i) for i in range(9)] + [excerpt("the horse ran", "horse", 10)]
    assert describe(*examples) == '"cat"'


def test_words_of_one_example_describe_only_where_there_is_nothing_better():
    background = Background.of(excerpt("people said", document=i) for i in range(99))
    judge = OverlapJudge(background)
    alone = [excerpt(f"people saw {name}", name, i) for i, name in enumerate(["cat", "dog", "otter"])]
    assert describe(*alone, judge=judge) == '"cat"'
    assert describe(*alone, excerpt("an otter", "otter", 9), judge=judge) == '"otter"'


def test_the_log_odds_are_those_of_the_two_by_two_table():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    examples = []
    for number in range(40):
        chosen = rng.choice(words, 6, replace=False)
        active = [w for w in chosen if rng.random() < (int(w[1:]) + 1) / 14]
        examples.append(excerpt(" ".join(chosen), " ".join(active), number))

    def z(word):
        active = sum(word in active_words(e)[0] for e in examples) + 0.5
        silent = sum(word in active_words(e)[1] for e in examples) + 0.5
        table = np.array([active, 41 - active, silent, 41 - silent])
        return np.log(table[0] * table[3] / table[1] / table[2]) / np.sqrt((1 / table).sum())

    found = JUDGE.distinctive(examples)
    assert found == sorted((w for w in words if z(w) >= 1), key=lambda w: -z(w))
    assert len(found) >= 2


def test_function_words_describe_only_features_that_fire_on_them():
    everywhere = [
        excerpt(f"the {name} of grass", f"the {name} of grass", i) for i, name in enumerate(["cat", "cat", "dog"])
    ]
    assert '"the"' not in describe(*everywhere)
    on_the = [excerpt(f"the {name} ran", "the", i) for i, name in enumerate("abcdef")]
    assert describe(*on_the) == '"the"'


def test_a_background_takes_out_what_all_texts_hold():
    examples = [excerpt("people play guitar", "people play guitar", i) for i in range(5)]
    background = Background.of(excerpt("people play outside", document=i) for i in range(30))
    assert (background.n_windows, background.counts["play"]) == (30, 30)
    assert describe(*examples, judge=OverlapJudge(background)) == '"guitar"'


def test_candidates_are_of_several_lengths():
    examples = [
        excerpt(" ".join(f"w{i}" for i in range(40)), " ".join(f"w{i}" for i in range(40)), j) for j in range(9)
    ]
    lengths = [len(described_words(describe(*examples, candidate=c))) for c in range(6)]
    assert lengths == [8, 3, 16, 1, 32, 8]


def test_without_active_words_there_is_no_description():
    for examples in ((), (excerpt("a cat"),), (Excerpt((), (), origin(1)),)):
        (answer,) = JUDGE.answer([DescriptionQuestion(1, examples)])
        assert (answer.value, answer.reason) == (None, "no active word in the examples")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ('"The", "cat"', {"the", "cat"}),
        ('the word "Paris" in texts', {"paris"}),
        ("fires on names of Cities", {"names", "cities"}),
        ("the", {"the"}),
        ("", set()),
        ('"""', {'"'}),
    ],
)
def test_a_description_is_about_what_it_quotes_or_else_its_content_words(description, words):
    assert described_words(description) == words


@given(st.lists(st.sampled_from(["cat", "the", '"', ",", "ß", "7"]), min_size=1, unique=True))
def test_what_the_judge_describes_it_reads_back(words):
    assert described_words(quoted(words)) == {form for word in words for form in words_of(word).forms}


@pytest.mark.parametrize(
    ("description", "text", "yes"),
    [('"cat"', "The CAT sat", True), ('"cat"', "concatenate", False), ("cats", "a cat", False), ('"cat"', "", False)],
)
def test_a_text_is_detected_by_whole_words_whatever_their_case(description, text, yes):
    assert value(DetectionQuestion(description, excerpt(text))) is yes


def test_fuzzing_asks_whether_described_words_are_commoner_among_the_marked_ones():
    text = excerpt("the cat and the dog ran")
    for marked, yes in (({1}, True), ({1, 4}, True), ({0, 3}, False), (set(), False), ({0, 1, 2, 3}, True)):
        assert value(FuzzingQuestion('"cat"', text, frozenset(marked))) is yes
    assert value(FuzzingQuestion('"cat"', excerpt("the dog ran"), frozenset({1}))) is False


def test_the_intruder_is_the_text_that_shares_the_fewest_words():
    texts = [excerpt(text) for text in ("the piano sang", "a piano and choir", "the ball flew", "choir of piano")]
    assert value(IntruderQuestion(tuple(texts))) == 2
    assert value(IntruderQuestion((texts[2], *texts[:2]))) == 0
    assert value(IntruderQuestion((texts[0], texts[0]))) == 0
    assert value(IntruderQuestion(())) is None


def test_words_of_the_background_count_less_for_the_intruder():
    texts = tuple(excerpt(text) for text in ("people said piano", "piano note", "people said ball", "piano key people"))
    background = Background.of(excerpt("people said") for _ in range(99))
    assert value(IntruderQuestion(texts), OverlapJudge(background)) == 2


def test_features_are_classified_by_listed_words_or_not_at_all():
    judge = OverlapJudge(spaces={"feature-categories": label_space("feature-categories")})

    def labels(*examples):
        return value(ClassificationQuestion(1, examples, "feature-categories"), judge)

    assert labels(*(excerpt("the prime integer", "prime integer", i) for i in range(5))) == {
        "category": "domain",
        "domain_type": "math",
    }
    assert labels(*(excerpt("so wait hmm", "wait hmm", i) for i in range(5))) == {"category": "reasoning"}
    assert labels(excerpt("a zebra", "zebra")) is None
    assert value(ClassificationQuestion(1, (excerpt("a", "a"),), "nonesuch"), judge) is None


def test_answers_do_not_depend_on_the_other_questions():
    questions = [DetectionQuestion('"cat"', excerpt("a cat")), DetectionQuestion('"dog"', excerpt("a cat"))]
    assert JUDGE.answer(questions) == JUDGE.answer(questions[:1]) + JUDGE.answer(questions[1:])
    assert JUDGE.answer([]) == []
