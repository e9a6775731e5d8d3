"""Labels by the token overlap judge: description, detection and fuzzing of many features, from their windows to scores.

Windows are made up: common words, and for each feature a few words of its own that it fires on. Drawing the trials is
part of the work; making the windows is not. Every feature's scores must be what was planted.
"""

import sys
from collections.abc import Iterator

import numpy as np

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.overlap_judge import OverlapJudge
from ato.autointerp.questions import DescriptionQuestion
from ato.autointerp.scores import Score, scores
from ato.autointerp.trial_results import put_to_judge
from ato.autointerp.trials import DETECTION, FUZZING, TrialPlan, draw_trials
from ato.features.excerpts import Excerpt, Origin
from benchmarks.measurement import Measurement, within
from benchmarks.program import run
from benchmarks.timing import seconds

LENGTH, N_EXAMPLES, N_WINDOWS, VOCABULARY, LIMIT = 32, 20, 40, 2_000, 60.0
"""Tokens of a window; examples shown; windows of each class and tier that trials are drawn from; words; s per 1,000."""
TIERS = ("random", "same_stratum", "near_miss")


def measure(quick: bool) -> Iterator[Measurement]:
    """Seconds, of a limit of a minute for 1,000 features."""
    n = 20 if quick else 1_000
    features = [planted(feature) for feature in range(n)]
    taken, found = seconds(lambda: [labelled(one) for one in features])
    wrong = [score for of in found for score in of if score.tier is None and (score.value.value or 0) < 0.95]
    assert not wrong, f"{len(wrong)} scores are not what was planted, the first {wrong[0]}"
    assert {len(of) for of in found} == {len(TIERS) + 2}, "a feature lacks a score"
    what = f"description, detection and fuzzing of {n:,} features, token overlap judge"
    yield within(what, "s", taken, at_most=LIMIT * n / 1_000)


def labelled(evidence: FeatureEvidence) -> list[Score]:
    """One feature from its windows to its scores."""
    judge = OverlapJudge()
    (description,) = judge.answer([DescriptionQuestion(evidence.feature_id, evidence.examples)])
    trials = draw_trials(evidence, "test", TrialPlan(), [DETECTION, FUZZING]).trials
    return scores(put_to_judge(judge, trials, {evidence.feature_id: str(description.value)}))


def planted(feature: int) -> FeatureEvidence:
    """A feature that fires on four words of its own, two of them in each active window."""
    rng = np.random.default_rng(feature)

    def windows(n: int, active: bool, split: str, first: int) -> tuple[Excerpt, ...]:
        found = []
        for document in range(first, first + n):
            words = [f" w{word}" for word in rng.integers(0, VOCABULARY, LENGTH)]
            fires = np.zeros(LENGTH)
            if active:
                places = rng.choice(LENGTH, 2, replace=False)
                fires[places] = 1 + rng.random(2)
                for place in places:
                    words[place] = f" own{feature}{'abcd'[rng.integers(4)]}"
            origin = Origin("made-up", document, document, LENGTH // 2, 0, split)
            found.append(Excerpt(tuple(words), tuple(fires.tolist()), origin))
        return tuple(found)

    negatives = {tier: windows(N_WINDOWS, False, "test", 1_000 * (i + 1)) for i, tier in enumerate(TIERS)}
    return FeatureEvidence(
        feature, windows(N_EXAMPLES, True, "train", 0), windows(N_WINDOWS, True, "test", 500), negatives
    )


if __name__ == "__main__":
    sys.exit(run("labels", measure, __doc__))
