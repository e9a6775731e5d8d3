"""Scores agree with SciPy, scikit-learn, published figures and with SQL over the rows of trials."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from ato.autointerp.scores import (
    Z,
    balanced_accuracy,
    intruder_accuracy,
    mean_of_shares,
    scores,
    wilson,
)
from ato.autointerp.trial_results import TrialResult
from ato.autointerp.trials import DETECTION, EMBEDDING, FUZZING, INTRUDER, Trial
from ato.errors import InputError
from ato.numerics.intervals import Estimate
from tests.ato.autointerp.planted_features import excerpt

TEXT = (excerpt("a cat"),)


@pytest.mark.parametrize("n", [1, 7, 20, 400])
def test_wilson_is_that_of_scipy(n):
    for k in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(k, n).proportion_ci(0.95, "wilson")
        found = wilson(k, n)
        assert (found.value, found.low, found.high) == pytest.approx((k / n, expected.low, expected.high), abs=1e-9)
        assert found.low <= found.value <= found.high


def test_no_trials_have_no_share_and_impossible_counts_are_refused():
    assert wilson(0, 0) == Estimate(None)
    with pytest.raises(InputError, match="3 successes in 2 trials"):
        wilson(3, 2)


@pytest.mark.parametrize(
    # Newcombe (1998), table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 6/7 - 2/7, 10/10 - 0/20, 10/10 - 0/10.
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_limits_of_a_mean_of_shares_are_newcombe_s_published_ones_of_a_difference(a, m, b, n, low, high):
    found = mean_of_shares(wilson(a, m), wilson(n - b, n))
    assert (2 * found.low - 1, 2 * found.high - 1) == pytest.approx((low, high), abs=6e-5)


def test_the_interval_of_balanced_accuracy_covers_the_truth():
    rng = np.random.default_rng(0)
    for sensitivity, specificity in ((0.5, 0.5), (0.95, 0.8), (0.99, 0.6)):
        yes, no = rng.binomial(20, sensitivity, 2000), rng.binomial(60, specificity, 2000)
        found = [mean_of_shares(wilson(a, 20), wilson(b, 60)) for a, b in zip(yes.tolist(), no.tolist())]
        covered = np.mean([one.low <= (sensitivity + specificity) / 2 <= one.high for one in found])
        assert 0.93 < covered < 0.98


def test_balanced_accuracy_is_that_of_scikit_learn_over_answered_trials():
    rng = np.random.default_rng(1)
    expected, answered = rng.random(90) < 0.3, rng.random(90) < 0.5
    given = [None if drop else bool(a) for a, drop in zip(answered, rng.random(90) < 0.2)]
    known = [i for i, a in enumerate(given) if a is not None]
    found = balanced_accuracy(expected, given)
    assert found.value.value == pytest.approx(balanced_accuracy_score(expected[known], answered[known]))
    assert found.n_unanswered == 90 - len(known)
    assert found.n_positive + found.n_negative == len(known)


@pytest.mark.parametrize("answered", [[None, None], [True, None], []])
def test_a_class_without_answers_has_no_balanced_accuracy(answered):
    found = balanced_accuracy([True, False][: len(answered)], answered)
    assert found.value == Estimate(None)


def test_arrays_of_two_lengths_are_refused():
    for score in (balanced_accuracy, intruder_accuracy):
        with pytest.raises(InputError, match="pass one for each"):
            score([1], [])


def test_unanswered_groups_are_neither_right_nor_wrong():
    assert intruder_accuracy([0, 1, 2, 3], [0, 1, None, 0]) == wilson(2, 3)


def rows(seed=0, feature=1, control=False):
    """Answered trials of every scorer, some without an answer."""
    rng = np.random.default_rng(seed)
    found = []

    def add(scorer, tier, expected, right, excerpts=TEXT):
        answered = None if rng.random() < 0.1 else right
        probability = None if answered is None else round(float(rng.random() / 2 + expected / 3), 1)
        trial = Trial(feature, scorer, len(found), tier, "test", expected, excerpts)
        found.append(TrialResult(trial, answered, probability, None, None, control))

    for scorer in (DETECTION, EMBEDDING, FUZZING):
        for tier in (None, None, None if scorer == FUZZING else "random", None if scorer == FUZZING else "near_miss"):
            for number in range(20):
                expected = number % 2 == 0 if scorer == FUZZING else tier is None
                add(scorer, tier, expected, bool(rng.random() < 0.8) == expected)
    for _ in range(25):
        expected = int(rng.integers(5))
        add(INTRUDER, "random", expected, expected if rng.random() < 0.6 else (expected + 1) % 5, TEXT * 5)
    return found


def by(found):
    return {(one.scorer, one.tier, one.control): one for one in found}


def test_tiers_share_the_active_windows_and_are_pooled():
    found = by(scores(rows()))
    assert [key for key in found if not key[2]] == [
        (DETECTION, None, False),
        (DETECTION, "near_miss", False),
        (DETECTION, "random", False),
        (FUZZING, None, False),
        (INTRUDER, None, False),
        (EMBEDDING, None, False),
        (EMBEDDING, "near_miss", False),
        (EMBEDDING, "random", False),
    ]
    pooled, *tiers = (found[DETECTION, tier, False] for tier in (None, "random", "near_miss"))
    assert {one.sensitivity for one in tiers} == {pooled.sensitivity}
    assert pooled.n_negative == sum(one.n_negative for one in tiers)
    assert found[INTRUDER, None, False].chance == pytest.approx(0.2)


def test_embedding_is_the_auroc_of_scikit_learn_over_trials_with_a_probability():
    results = [r for r in rows() if r.trial.scorer == EMBEDDING]
    known = [r for r in results if r.probability is not None]
    expected = roc_auc_score([r.trial.expected for r in known], [r.probability for r in known])
    found = by(scores(results))[EMBEDDING, None, False]
    assert found.value.value == pytest.approx(expected)
    assert found.n_unanswered == len(results) - len(known)
    assert found.value.low < expected < found.value.high


SQL = f"""
with of_tier as (
    select r.scorer, t.tier, r.expected, r.answered, r.probability, r.n_choices
    from trials r
    join (select distinct scorer, tier from trials where scorer <> 'intruder' and tier is not null
          union all select distinct scorer, null from trials) t
      on t.scorer = r.scorer and (t.tier is null or r.tier is null or r.tier = t.tier)
),
counts as (
    select scorer, tier,
        count(answered) filter (expected = 1) as n1, count(*) filter (expected = 1 and answered = 1) as k1,
        count(answered) filter (expected = 0) as n0, count(*) filter (expected = 0 and answered = 0) as k0,
        count(answered) as n, count(*) filter (answered = expected) as k
    from of_tier group by all
),
shares as (
    select scorer, tier, side, k / nullif(n, 0) as p, {Z} * {Z} as z2, n,
        (p + z2 / (2 * n)) / (1 + z2 / n) as centre,
        {Z} / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) as reach
    from (select scorer, tier, 'yes' as side, k1 as k, n1 as n from counts
          union all select scorer, tier, 'no', k0, n0 from counts
          union all select scorer, tier, 'all', k, n from counts)
),
accuracy as (
    select y.scorer, y.tier, (y.p + n.p) / 2 as value,
        value - sqrt((y.p - y.centre + y.reach) ** 2 + (n.p - n.centre + n.reach) ** 2) / 2 as low,
        value + sqrt((y.centre + y.reach - y.p) ** 2 + (n.centre + n.reach - n.p) ** 2) / 2 as high
    from shares y join shares n on n.scorer = y.scorer and n.tier is not distinct from y.tier
    where y.side = 'yes' and n.side = 'no' and y.scorer in ('detection', 'fuzzing')
),
ranked as (
    select scorer, tier, expected,
        rank() over (partition by scorer, tier order by probability)
            + (count(*) over (partition by scorer, tier, probability) - 1) / 2 as place
    from of_tier where scorer = 'embedding' and probability is not null
),
area as (
    select scorer, tier, count(*) filter (expected = 1) as n1, count(*) filter (expected = 0) as n0,
        (sum(place) filter (expected = 1) - n1 * (n1 + 1) / 2) / (n1 * n0) as value
    from ranked group by all
)
select scorer, tier, value, low, high from accuracy
union all select scorer, tier, p, centre - reach, centre + reach from shares where side = 'all' and scorer = 'intruder'
union all select scorer, tier, value, null, null from area
"""


def test_every_score_is_recomputed_in_sql_from_the_rows_of_trials():
    results = rows(3)
    trials = pd.DataFrame(
        [
            {
                "scorer": r.trial.scorer,
                "tier": r.trial.tier,
                "expected": int(r.trial.expected),
                "answered": None if r.answered is None else int(r.answered),
                "probability": r.probability,
                "n_choices": len(r.trial.excerpts),
            }
            for r in results
        ]
    ).astype({"answered": "Int64"})
    with duckdb.connect() as database:
        database.register("trials", trials)
        found = {(scorer, tier): rest for scorer, tier, *rest in database.execute(SQL).fetchall()}
    expected = scores(results)
    assert len(found) == len(expected)
    for one in expected:
        value, low, high = found[one.scorer, one.tier]
        assert value == pytest.approx(one.value.value, abs=1e-12)
        if one.scorer != EMBEDDING:
            assert (low, high) == pytest.approx((one.value.low, one.value.high), abs=1e-12)


def test_controls_are_scored_by_themselves():
    found = scores([*rows(1), *rows(2, control=True)])
    assert [one for one in found if not one.control] == scores(rows(1))
    assert len([one for one in found if one.control]) == len(scores(rows(2)))


def test_without_answers_a_score_is_missing_with_its_commonest_reason():
    trial = Trial(1, DETECTION, 0, None, "test", True, TEXT)
    (found,) = scores([TrialResult(trial, None, reason=reason) for reason in ("budget", "no answer", "budget")])
    assert found.value == Estimate(None)
    assert (found.reason, found.n_unanswered) == ("budget", 3)
    (found,) = scores([TrialResult(trial, True)])
    assert found.reason == "a class without an answer"
    (found,) = scores([TrialResult(Trial(1, EMBEDDING, 0, None, "test", True, TEXT), True)])
    assert found.reason == "the judge gives no probabilities"
    assert scores([]) == []


def test_features_are_not_scored_together():
    with pytest.raises(InputError, match=r"features \[1, 2\] together"):
        scores(rows() + rows(feature=2))
