"""Agreement of judges is Cohen's kappa as scikit-learn has it, with limits that cover it."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ato.autointerp.agreement import agreement, agreement_by_property
from ato.autointerp.label_spaces import LabelProperty, LabelSpace, LabelValue
from ato.autointerp.scores import wilson
from ato.errors import InputError
from ato.numerics.intervals import Estimate

NAMES = np.array(["language", "domain", "reasoning"])


def judges(n, same, rng):
    """Two judges who give the same value with a chance, and independent ones otherwise."""
    first, second = rng.choice(NAMES, (2, n), p=[0.6, 0.3, 0.1])
    return first.tolist(), np.where(rng.random(n) < same, first, second).tolist()


@pytest.mark.parametrize("same", [0.0, 0.5, 0.9])
def test_kappa_is_that_of_scikit_learn(same):
    first, second = judges(80, same, np.random.default_rng(0))
    found = agreement(first, second)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.share == wilson(sum(a == b for a, b in zip(first, second)), 80)
    assert found.kappa.low < found.kappa.value < found.kappa.high


def test_limits_agree_with_the_large_sample_variance_of_fleiss_cohen_and_everitt():
    first, second = judges(2000, 0.5, np.random.default_rng(1))
    counts = np.array([[sum(a == i and b == j for a, b in zip(first, second)) for j in NAMES] for i in NAMES]) / 2000
    row, column = counts.sum(1), counts.sum(0)
    e = row @ column
    kappa = (np.trace(counts) - e) / (1 - e)
    weights = np.eye(3) - (column[:, None] + row[None, :]) * (1 - kappa)
    variance = ((counts * weights**2).sum() - (kappa - e * (1 - kappa)) ** 2) / (2000 * (1 - e) ** 2)
    found = agreement(first, second).kappa
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.02)


def test_the_interval_covers_the_true_kappa():
    rng = np.random.default_rng(2)
    found = [agreement(*judges(60, 0.6, rng)).kappa for _ in range(400)]
    assert 0.92 < np.mean([one.low <= 0.6 <= one.high for one in found]) < 0.985


def test_the_order_of_features_changes_nothing():
    first, second = judges(30, 0.5, np.random.default_rng(3))
    assert agreement(first, second) == agreement(first[::-1], second[::-1])


def test_full_agreement_is_not_certain():
    found = agreement(["a", "b"] * 10, ["a", "b"] * 10)
    assert found.kappa.value == 1
    assert found.kappa.low == pytest.approx(2 * wilson(20, 20).low - 1)
    assert found.kappa.high == 1


def test_agreement_that_is_all_chance_has_no_kappa():
    found = agreement(["a"] * 9, ["a"] * 9)
    assert found.kappa == Estimate(None)
    assert found.share == wilson(9, 9)


def test_features_without_a_value_of_both_do_not_count():
    found = agreement(["a", None, "b", None], ["a", "b", None, None])
    assert (found.n, found.n_missing) == (1, 2)
    nothing = agreement([], [])
    assert (nothing.n, nothing.share, nothing.kappa) == (0, Estimate(None), Estimate(None))
    with pytest.raises(InputError, match="1 values and 0"):
        agreement(["a"], [])


def test_every_property_has_its_own_agreement():
    values = (LabelValue("a", "?"), LabelValue("b", "?"))
    space = LabelSpace("s", (LabelProperty("kind", "?", values), LabelProperty("fur", "?", values, ("kind", "a"))))
    first = [{"kind": "a", "fur": "b"}, {"kind": "b", "fur": None}]
    found = agreement_by_property(first, [{"kind": "a", "fur": "b"}, {"kind": "a", "fur": "a"}], space)
    assert {name: (of.n, of.n_missing, of.share.value) for name, of in found.items()} == {
        "kind": (2, 0, 0.5),
        "fur": (1, 1, 1.0),
    }
