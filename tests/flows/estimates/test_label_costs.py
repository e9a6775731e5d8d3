"""What labelling asks: counted by hand, and never less than what a server was asked."""

import pytest

from flows.estimates.label_costs import labelled_features, trials_of, what_is_asked, windows_of
from flows.settings import load_settings

LABEL = [
    "label.layers=[12]",
    "label.n_features=50",
    "label.n_neurons=0",
    "label.n_trials=20",
    "label.label_space=null",
    "label.judge=chat",
    "label.chat.texts_per_request=5",
]


def asked(*more: str):
    settings = load_settings("demo", [*LABEL, *more])
    return what_is_asked(settings, settings.label.chat), settings


def test_trials_and_calls_of_a_feature_are_those_counted_by_hand():
    found, settings = asked()
    # detection 20 + 3 x 20, fuzzing 2 x 20, both with a shuffled description too; 20 groups of the intruder test
    assert trials_of(settings.label) == 2 * (80 + 40) + 20
    # one description, 240 texts five at a time, 20 groups
    assert found.calls == 50 * (1 + 48 + 20)
    assert found.features == labelled_features(settings) == 50
    assert found.cost is None


def test_the_cost_is_tokens_times_prices():
    found, _ = asked("label.chat.prompt_price=1", "label.chat.completion_price=3")
    assert found.cost == pytest.approx((found.prompt_tokens + 3 * found.completion_tokens) / 1e6)


@pytest.mark.parametrize("more", ["label.n_candidates=3", "label.label_space=feature-categories", "label.n_neurons=5"])
def test_more_is_more(more):
    assert asked(more)[0].calls > asked()[0].calls


def test_windows_are_those_of_three_splits_and_tiers():
    w = load_settings("demo").label.windows
    active = w.n_top + w.n_random + w.n_quantiles + 2 * (w.n_held_out_top + w.n_held_out_random)
    assert windows_of(load_settings("demo").label) == active + 2 * 3 * w.n_silent
