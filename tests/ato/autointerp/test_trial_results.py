"""What is asked, what counts as an answer, and whose descriptions serve as control."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.questions import Answer, DetectionQuestion
from ato.autointerp.trial_results import best_candidate, put_to_judge, shuffled_descriptions
from ato.autointerp.trials import DETECTION, INTRUDER, Trial
from ato.errors import DataError, InputError
from tests.ato.autointerp.planted_features import excerpt


class Scripted:
    """Gives answers in their order, and remembers the questions."""

    name = "scripted"

    def __init__(self, *answers):
        self.answers, self.asked = [Answer(a) if not isinstance(a, Answer) else a for a in answers], []

    def answer(self, questions):
        self.asked += questions
        return self.answers


def detection(feature=1, text="a cat", number=0):
    return Trial(feature, DETECTION, number, None, "test", True, (excerpt(text),))


def test_empty_texts_and_missing_descriptions_are_never_asked_and_have_no_answer():
    judge = Scripted(True)
    trials = [detection(text=" "), detection(2), detection(3), detection(4)]
    found = put_to_judge(judge, trials, {1: "cats", 2: "", 3: " \n", 4: "cats"})
    assert [r.answered for r in found] == [None, None, None, True]
    assert [r.reason for r in found] == ["no visible text", "no description", "no description", None]
    assert judge.asked == [DetectionQuestion("cats", excerpt("a cat"))]


def test_nothing_to_ask_asks_nobody():
    assert put_to_judge(Scripted(), [], {}) == []


def test_answers_of_the_wrong_kind_are_no_answers():
    trials = [detection(number=i) for i in range(5)]
    found = put_to_judge(Scripted(False, "yes", 1, None, Answer(None, reason="budget", call="k")), trials, {1: "cats"})
    assert [r.answered for r in found] == [False, None, None, None, None]
    assert [r.reason for r in found] == [None, "not an answer: 'yes'", "not an answer: '1'", "no answer", "budget"]
    assert found[-1].call == "k"


def test_an_intruder_needs_no_description_and_must_be_one_of_the_group():
    group = Trial(1, INTRUDER, 0, "random", "test", 0, (excerpt("a"), excerpt("b")))
    found = put_to_judge(Scripted(1, 2, True, -1), [group] * 4, {})
    assert [r.answered for r in found] == [1, None, None, None]


def test_a_judge_that_answers_too_little_is_an_error():
    with pytest.raises(DataError, match="scripted gave 0 answers to 1 questions"):
        put_to_judge(Scripted(), [detection()], {1: "cats"})


def test_a_question_without_its_description_cannot_be_made():
    with pytest.raises(InputError, match="without a description of feature 1"):
        detection().question(" ")


@given(
    st.dictionaries(st.integers(0, 50), st.sampled_from(["cats", "Cats ", "dogs", "birds", "", None])),
    st.integers(0, 9),
)
def test_controls_are_descriptions_of_other_features_that_read_differently(descriptions, seed):
    found = shuffled_descriptions(descriptions, seed)
    plain = {feature: (text or "").strip().casefold() for feature, text in descriptions.items()}
    assert set(found) == set(descriptions)
    for feature, text in found.items():
        others = {other for other in plain.values() if other and other != plain[feature]}
        if not plain[feature] or not others:
            assert text is None
        else:
            assert text.strip().casefold() in others
    assert found == shuffled_descriptions(dict(reversed(descriptions.items())), seed)


@pytest.mark.parametrize(
    ("scores", "best"), [([], None), ([None, float("nan")], None), ([0.5, 0.9, 0.9, None], 1), ([None, 0.1], 1)]
)
def test_the_best_candidate_is_the_first_of_the_highest_score(scores, best):
    assert best_candidate(scores) == best
