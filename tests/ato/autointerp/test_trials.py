"""Trials are what they claim to be: unseen windows, verified silence, exactly the drawn tokens, the same for any order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.marking import mark, marks_for
from ato.autointerp.trials import (
    DETECTION,
    EMBEDDING,
    FUZZING,
    INTRUDER,
    TrialPlan,
    active_tokens,
    draw_trials,
)
from ato.errors import InputError, QualityError
from ato.features.excerpts import Excerpt
from tests.ato.autointerp.marked_text import marked_spans
from tests.ato.autointerp.planted_features import documents, evidence, excerpt, of_animals, origin


@pytest.fixture(scope="module")
def animals():
    return evidence(3, of_animals, documents())


@pytest.fixture(scope="module")
def drawn(animals):
    return draw_trials(animals, "test", TrialPlan(seed=4))


def test_every_class_and_tier_has_the_asked_number_and_only_unseen_documents_of_the_split(animals, drawn):
    shown = {one.origin.document for one in animals.examples}
    detection = drawn.of(DETECTION)
    assert [sum(t.tier == tier for t in detection) for tier in (None, "random", "same_stratum")] == [20, 20, 20]
    assert all(t.expected == (t.tier is None) == t.excerpts[0].active for t in detection)
    for trial in drawn.trials:
        for one in trial.excerpts:
            assert one.origin.split == trial.split == "test"
            assert one.origin.document not in shown
    assert [(t.excerpts, t.expected) for t in drawn.of(EMBEDDING)] == [(t.excerpts, t.expected) for t in detection]
    assert not drawn.reasons


def test_no_window_is_drawn_twice_for_a_class(drawn):
    for tier in (None, "random", "same_stratum"):
        windows = [t.excerpts[0].origin for t in drawn.of(DETECTION) if t.tier == tier]
        assert len(set(windows)) == len(windows)


def test_tiers_share_windows_only_where_there_are_not_enough(animals, drawn):
    tiers = [
        {t.excerpts[0].origin for t in drawn.of(DETECTION) if t.tier == tier} for tier in ("random", "same_stratum")
    ]
    assert tiers[0].isdisjoint(tiers[1])
    same = tuple(w for w in animals.negatives["random"] if w.origin.split == "test")[:25]
    few = draw_trials(replace(animals, negatives={"random": same, "near_miss": same}), "test", scorers=[DETECTION])
    drawn_from = [{t.excerpts[0].origin for t in few.trials if t.tier == tier} for tier in ("random", "near_miss")]
    assert [len(windows) for windows in drawn_from] == [20, 20]
    assert len(drawn_from[0] | drawn_from[1]) == 25


def test_fuzzing_marks_all_active_tokens_or_as_many_silent_ones_and_nothing_else(drawn):
    fuzzing = drawn.of(FUZZING)
    assert sum(t.expected for t in fuzzing) == sum(not t.expected for t in fuzzing) == 20
    for trial in fuzzing:
        (one,) = trial.excerpts
        fires = {i for i, value in enumerate(one.activations) if value > 0}
        assert one.active
        assert len(trial.marked) == len(fires)
        assert trial.marked == fires if trial.expected else trial.marked.isdisjoint(fires)
        marks = marks_for(one.tokens)
        text = mark(one.tokens, trial.marked, marks)
        # Read back from what the judge is shown: the drawn tokens and no others.
        seen = "".join(one.text[start:end] for start, end in marked_spans(text, marks))
        assert seen == "".join(one.tokens[i] for i in sorted(trial.marked))


def test_with_few_windows_a_window_stands_in_both_classes_of_fuzzing_once(animals):
    few = replace(animals, positives=tuple(p for p in animals.positives if p.origin.split == "test")[:12])
    fuzzing = draw_trials(few, "test", TrialPlan(n=10), [FUZZING]).of(FUZZING)
    for expected in (True, False):
        windows = [t.excerpts[0].origin for t in fuzzing if t.expected == expected]
        assert len(set(windows)) == len(windows) == 10


def test_groups_hold_one_silent_window_at_the_stated_place_and_no_window_too_often(drawn):
    groups = drawn.of(INTRUDER)
    assert len(groups) == 20
    uses: dict = {}
    for group in groups:
        assert [one.active for one in group.excerpts] == [i != group.expected for i in range(5)]
        assert len({one.origin for one in group.excerpts}) == 5
        for one in group.excerpts:
            uses[one.origin] = uses.get(one.origin, 0) + 1
    assert max(uses.values()) <= 5
    assert len({group.expected for group in groups}) > 2


@pytest.mark.parametrize("size", [4, 5])
def test_the_least_windows_that_make_twenty_groups_do_and_one_less_does_not(animals, size):
    plan = TrialPlan(group_size=size)
    for n, possible in ((4 * size, True), (4 * size - 1, False)):
        few = replace(animals, positives=tuple(p for p in animals.positives if p.origin.split == "test")[:n])
        found = draw_trials(few, "test", plan, [INTRUDER])
        assert len(found.trials) == (20 if possible else 0)
        assert bool(found.reasons) != possible


@given(st.randoms(use_true_random=False))
def test_trials_do_not_depend_on_the_order_of_windows_nor_on_windows_given_twice(animals, drawn, random):
    def mixed(windows):
        several = [*windows, *windows[:7]]
        random.shuffle(several)
        return tuple(several)

    again = replace(
        animals,
        positives=mixed(animals.positives),
        negatives={tier: mixed(windows) for tier, windows in reversed(animals.negatives.items())},
    )
    assert draw_trials(again, "test", TrialPlan(seed=4)).trials == drawn.trials


def test_another_seed_or_feature_draws_other_trials(animals, drawn):
    for other in (draw_trials(animals, "test", TrialPlan(seed=5)), draw_trials(replace(animals, feature_id=4), "test")):
        assert [t.excerpts for t in other.trials] != [t.excerpts for t in drawn.trials]


def test_validation_and_test_share_no_document(animals, drawn):
    validation = draw_trials(animals, "validation", TrialPlan(seed=4))
    documents_of = [{e.origin.document for t in found.trials for e in t.excerpts} for found in (validation, drawn)]
    assert documents_of[0].isdisjoint(documents_of[1])
    assert validation.of(DETECTION)


def test_too_few_windows_give_no_trials_and_a_reason():
    nothing = draw_trials(FeatureEvidence(1), "test")
    assert nothing.trials == ()
    assert nothing.reasons == {
        (DETECTION, None): "0 active windows of 20",
        (FUZZING, None): "0 active windows of 20",
        (INTRUDER, None): "0 active and 0 silent windows (random) make 0 groups of 20",
        (EMBEDDING, None): "0 active windows of 20",
    }


def test_a_tier_without_enough_windows_is_left_out_with_its_reason(animals):
    few = replace(animals, negatives=animals.negatives | {"near_miss": animals.negatives["random"][:3]})
    found = draw_trials(few, "test", scorers=[DETECTION])
    assert {t.tier for t in found.trials} == {None, "random", "same_stratum"}
    assert list(found.reasons) == [(DETECTION, "near_miss")]
    alone = draw_trials(replace(animals, negatives={"random": ()}), "test", scorers=[DETECTION])
    assert alone.trials == ()
    assert alone.reasons[DETECTION, None] == "no tier has 20 silent windows"


def test_a_negative_that_is_active_or_a_positive_that_is_silent_is_an_error(animals):
    with pytest.raises(QualityError, match="feature 3 is active, but a negative"):
        draw_trials(replace(animals, negatives={"random": animals.positives}), "test")
    with pytest.raises(QualityError, match="feature 3 is silent, but a positive"):
        draw_trials(replace(animals, positives=animals.negatives["random"]), "test")


def test_windows_without_visible_text_or_of_shown_documents_are_never_drawn():
    blank = Excerpt((" ", "\n"), (1.0, 0.0), origin(1))
    shown = excerpt("the cat sat", "cat", 2, "train")
    known = FeatureEvidence(1, (shown,), (blank, excerpt("a cat", "cat", 2)))
    assert draw_trials(known, "test", TrialPlan(n=1), [FUZZING]).reasons[FUZZING, None].startswith("0 active windows")


def test_characters_split_over_tokens_count_once():
    one = Excerpt(("🙂", "", "", "x"), (0.0, 2.0, 1.0, 0.0), origin(1))
    assert active_tokens(one) == {0}
    assert np.isclose(one.peak, 2)


def test_unknown_scorers_and_empty_plans_are_refused(animals):
    with pytest.raises(InputError, match="unknown scorers"):
        draw_trials(animals, "test", scorers=["simulation"])
    with pytest.raises(InputError, match="without trials"):
        TrialPlan(n=0)
