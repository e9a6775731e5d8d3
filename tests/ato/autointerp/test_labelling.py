"""From evidence to labels: who describes, who tests, on which documents, and what is left when answers are missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.label_spaces import parse_label_space
from ato.autointerp.labelling import ImportedDescription, LabelPlan, label_features
from ato.autointerp.overlap_judge import OverlapJudge
from ato.autointerp.questions import (
    Answer,
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
    Question,
)
from ato.autointerp.trials import TrialPlan
from ato.errors import DataError, InputError
from tests.ato.autointerp.planted_features import documents, evidence, of_animals, of_music_words, of_nothing

PLAN = LabelPlan(TrialPlan(n=10, n_groups=10))
SPACE = parse_label_space(
    {
        "name": "kinds",
        "properties": [
            {
                "name": "kind",
                "meaning": "what",
                "values": [{"name": "word", "meaning": "a"}, {"name": "topic", "meaning": "b"}],
            }
        ],
    }
)


@dataclass
class Scripted:
    """Describes by candidate, answers yes where a word of the description stands in the text, and keeps what it was asked."""

    descriptions: tuple[str | None, ...] = ("horse camel otter falcon badger",)
    silent: tuple[type, ...] = ()
    """Kinds of questions that it gives no answer to."""
    asked: list[Question] = field(default_factory=list)
    name: str = "scripted"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        self.asked += questions
        return [self._one(question) for question in questions]

    def _one(self, question: Question) -> Answer:
        if isinstance(question, self.silent):
            return Answer(None, reason="budget")
        match question:
            case DescriptionQuestion():
                return Answer(self.descriptions[question.candidate])
            case DetectionQuestion():
                return Answer(bool(set(question.description.split()) & set(question.excerpt.text.split())))
            case FuzzingQuestion():
                marked = {question.excerpt.tokens[i].strip() for i in question.marked}
                return Answer(bool(marked & set(question.description.split())))
            case IntruderQuestion():
                return Answer(0)
            case ClassificationQuestion():
                return Answer({"kind": "word"})


@pytest.fixture(scope="module")
def features() -> list[FeatureEvidence]:
    """A token class, a topic's words, and nothing."""
    windows = documents(300)
    return [evidence(i, fires, windows) for i, fires in enumerate((of_animals, of_music_words, of_nothing))]


def score(found, scorer="detection", control=False, tier=None):
    (one,) = [s for s in found.scores if (s.scorer, s.control, s.tier) == (scorer, control, tier)]
    return one


def test_a_description_that_says_it_scores_one_and_that_of_another_feature_near_chance(features):
    animals, music, nothing = label_features(features, OverlapJudge(), PLAN)
    assert score(animals).value.value == pytest.approx(1.0)
    assert score(music).value.value > 0.9
    assert abs(score(nothing).value.value - 0.5) < 0.25
    assert score(animals, control=True).value.value < 0.7
    assert score(animals, "fuzzing").value.value > 0.95


def test_descriptions_are_made_from_train_documents_and_tested_on_others(features):
    judge = Scripted()
    label_features(features, judge, PLAN)
    shown = {e.origin.document for q in judge.asked if isinstance(q, DescriptionQuestion) for e in q.examples}
    tested = {q.excerpt.origin for q in judge.asked if isinstance(q, DetectionQuestion)}
    assert {origin.split for origin in tested} == {"test"}
    assert not shown & {origin.document for origin in tested}


def test_of_several_descriptions_validation_documents_choose_the_best_which_test_documents_then_judge(features):
    judge = Scripted(("violin", "horse camel otter falcon badger", None))
    (found,) = label_features(features[:1], judge, replace(PLAN, n_candidates=3))
    assert [candidate.chosen for candidate in found.candidates] == [False, True, False]
    assert found.description == "horse camel otter falcon badger"
    first, second, none = found.candidates
    assert first.validation.value.value < second.validation.value.value == 1.0
    assert none.text is None
    assert none.answer.reason == "an empty description"
    splits = {(number, result.trial.split) for number, result in found.results if result.trial.scorer == "detection"}
    assert splits == {(0, "validation"), (1, "validation"), (2, "validation"), (1, "test")}


def test_a_published_description_competes_on_validation_documents_and_the_judges_own_wins_a_draw(features):
    ours, theirs = "violin", ImportedDescription("horse camel otter falcon badger", "elsewhere 7")
    wrong = ImportedDescription("violin and drum", "elsewhere 8")
    found, other = label_features(features[:2], Scripted((ours,)), PLAN, imported={0: [wrong, theirs]})
    assert [(one.text, one.origin, one.chosen) for one in found.candidates] == [
        (ours, None, False),
        (wrong.text, wrong.origin, False),
        (theirs.text, theirs.origin, True),
    ]
    assert found.description == theirs.text
    assert score(found).value.value == pytest.approx(1.0)
    assert {(number, one.trial.split) for number, one in found.results if one.trial.scorer == "detection"} == {
        (0, "validation"),
        (1, "validation"),
        (2, "validation"),
        (2, "test"),
    }
    assert [one.origin for one in other.candidates] == [None], "nothing is published of this one"
    assert other.candidates[0].validation is None
    (same,) = label_features(
        features[:1], Scripted((theirs.text,)), PLAN, imported={0: [ImportedDescription(theirs.text + " zebra", "x")]}
    )
    assert [one.chosen for one in same.candidates] == [True, False]


def test_what_got_no_answer_is_counted_and_scores_nothing(features):
    judge = Scripted(silent=(DetectionQuestion,))
    (found,) = label_features(features[:1], judge, PLAN)
    assert score(found).value.value is None
    assert score(found).reason == "budget"
    assert score(found).n_unanswered == 30
    assert score(found, "fuzzing").value.value == pytest.approx(1.0)


def test_without_a_description_only_the_intruder_is_asked(features):
    judge = Scripted((None,))
    (found,) = label_features(features[:1], judge, PLAN)
    assert found.description is None
    assert {type(question) for question in judge.asked} == {DescriptionQuestion, IntruderQuestion}
    assert score(found).reason == "no description"
    assert score(found, "intruder").value.value is not None


def test_a_feature_without_windows_has_reasons_for_everything():
    (found,) = label_features([FeatureEvidence(7)], Scripted(), replace(PLAN, space=SPACE))
    assert found.description is None
    assert "fires in no train document" in found.candidates[0].answer.reason
    assert {one.scorer for one in found.scores} == set(PLAN.scorers)
    assert all(one.value.value is None and one.reason for one in found.scores)
    assert found.classes.value is None


def test_another_judge_may_write_the_descriptions(features):
    writer, tester = Scripted(("violin",)), Scripted(("horse",))
    (found,) = label_features(features[:1], tester, PLAN, describer=writer)
    assert found.description == "violin"
    assert {type(question) for question in writer.asked} == {DescriptionQuestion}
    assert not any(isinstance(question, DescriptionQuestion) for question in tester.asked)


def test_thresholds_are_fitted_on_validation_documents_alone(features):
    @dataclass
    class Fitted(Scripted):
        splits: set = field(default_factory=set)

        def fitted(self, trials, descriptions):
            self.splits |= {trial.split for trial in trials}
            return self

    judge = Fitted()
    label_features(features, judge, PLAN)
    assert judge.splits == {"validation"}


def test_classes_are_asked_of_features_with_examples(features):
    found = label_features(features, Scripted(), replace(PLAN, space=SPACE))
    assert [one.classes.value for one in found] == [{"kind": "word"}] * 3


def test_a_feature_given_twice_and_a_judge_that_skips_questions_are_refused(features):
    class Lazy(Scripted):
        def answer(self, questions):
            return super().answer(questions)[1:]

    with pytest.raises(InputError, match="labelled twice"):
        label_features([features[0], features[0]], Scripted(), PLAN)
    with pytest.raises(DataError, match="answers to"):
        label_features(features, Lazy(), PLAN)
    assert label_features([], Scripted(), PLAN) == []
