"""Features of a known meaning get the scores they deserve, by every offline judge that can see that meaning."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from ato.autointerp.embedding_judge import EmbeddingJudge
from ato.autointerp.overlap_judge import Background, OverlapJudge
from ato.autointerp.questions import DescriptionQuestion
from ato.autointerp.scores import scores
from ato.autointerp.sentence_encoder import SentenceEncoder
from ato.autointerp.trial_results import put_to_judge, shuffled_descriptions
from ato.autointerp.trials import DETECTION, EMBEDDING, FUZZING, INTRUDER, TrialPlan, draw_trials
from tests.ato.autointerp.constant_judge import ConstantJudge
from tests.ato.autointerp.planted_features import (
    documents,
    evidence,
    of_animals,
    of_music,
    of_music_words,
    of_nothing,
)

ANIMALS, MUSIC, MUSIC_WORDS, NOTHING = 3, 5, 7, 9
FIRES = {ANIMALS: of_animals, MUSIC: of_music, MUSIC_WORDS: of_music_words, NOTHING: of_nothing}
PLAN = TrialPlan(n=20, seed=1)


class HashingEncoder:
    """Bags of hashed words, without those that every text holds."""

    name = "hashing"

    def encode(self, texts):
        return HashingVectorizer(n_features=4096, norm="l2", alternate_sign=False).transform(list(texts)).toarray()


@pytest.fixture(scope="module")
def windows():
    return documents()


@pytest.fixture(scope="module")
def found(windows):
    """Evidence, test trials and the overlap judge's descriptions of every feature."""
    of = {feature: evidence(feature, fires, windows) for feature, fires in FIRES.items()}
    trials = {feature: draw_trials(one, "test", PLAN) for feature, one in of.items()}
    judge = OverlapJudge(Background.of(window for window in windows if window.origin.split == "train"))
    answers = judge.answer([DescriptionQuestion(feature, one.examples) for feature, one in of.items()])
    return of, trials, judge, {feature: answer.value for feature, answer in zip(of, answers)}


def values(judge, trials, descriptions, control=False):
    """(feature, scorer) -> the pooled score."""
    return {
        (feature, one.scorer): one.value.value
        for feature, drawn in trials.items()
        for one in scores(put_to_judge(judge, drawn.trials, descriptions, control=control))
        if one.tier is None
    }


def test_the_overlap_judge_finds_a_token_class_and_a_topic_and_nothing_in_noise(found):
    _, trials, judge, descriptions = found
    value = values(judge, trials, descriptions)
    assert value[ANIMALS, DETECTION] > 0.95
    assert value[ANIMALS, FUZZING] > 0.95
    assert value[MUSIC_WORDS, DETECTION] > 0.95
    assert value[MUSIC_WORDS, FUZZING] > 0.95
    assert value[MUSIC_WORDS, INTRUDER] > 0.9
    assert value[MUSIC, DETECTION] > 0.9
    assert value[MUSIC, INTRUDER] > 0.9
    assert abs(value[NOTHING, DETECTION] - 0.5) < 0.13
    assert abs(value[NOTHING, FUZZING] - 0.5) < 0.2
    assert value[NOTHING, INTRUDER] < 0.45


def test_a_topic_without_silent_tokens_cannot_be_fuzzed_and_says_so(found):
    _, trials, _, _ = found
    assert not trials[MUSIC].of(FUZZING)
    assert trials[MUSIC].reasons[FUZZING, None] == "0 active windows of 20 have as many silent tokens as active ones"


def test_descriptions_of_other_features_and_constant_answers_score_one_half(found):
    _, trials, judge, descriptions = found
    control = values(judge, trials, shuffled_descriptions(descriptions, 0), control=True)
    assert np.mean([control[feature, DETECTION] for feature in (ANIMALS, NOTHING)]) == pytest.approx(0.5, abs=0.1)
    for constant in (ConstantJudge(True), ConstantJudge(False)):
        value = values(constant, trials, descriptions)
        assert {score for (_, scorer), score in value.items() if scorer in (DETECTION, FUZZING)} == {0.5}
        assert value[ANIMALS, INTRUDER] < 0.45


def test_the_embedding_judge_finds_a_token_class_with_hashed_words(found):
    of, trials, _, descriptions = found
    validation = [t for one in of.values() for t in draw_trials(one, "validation", PLAN).trials]
    judge = EmbeddingJudge(HashingEncoder()).fitted(validation, descriptions)
    value = values(judge, trials, descriptions)
    assert value[ANIMALS, DETECTION] > 0.95
    assert value[ANIMALS, EMBEDDING] > 0.95
    assert value[ANIMALS, FUZZING] > 0.95
    assert abs(value[NOTHING, EMBEDDING] - 0.5) < 0.15


def test_the_sentence_encoder_finds_a_topic_from_its_name_alone(found):
    encoder = SentenceEncoder()
    of, trials, _, _ = found
    descriptions = {MUSIC: "classical music and concerts"}
    validation = [t for t in draw_trials(of[MUSIC], "validation", PLAN).trials if t.scorer == DETECTION]
    judge = EmbeddingJudge(encoder).fitted(validation, descriptions)
    value = values(judge, {MUSIC: trials[MUSIC]}, descriptions)
    assert value[MUSIC, DETECTION] > 0.9
    assert value[MUSIC, EMBEDDING] > 0.95
    assert value[MUSIC, INTRUDER] > 0.9
