"""The embedding judge answers by similarity, with thresholds that test documents never set."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from ato.autointerp.embedding_judge import EmbeddingJudge, best_threshold
from ato.autointerp.label_spaces import LabelProperty, LabelSpace, LabelValue
from ato.autointerp.questions import (
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
)
from ato.autointerp.sentence_encoder import SentenceEncoder
from ato.autointerp.trials import DETECTION, FUZZING, Trial
from ato.errors import DamagedFileError, InputError, UnavailableError
from tests.ato.autointerp.planted_features import excerpt

WORDS = ("cat", "dog", "piano")


class Counting:
    """A text's counts of three words; remembers how many texts it was given."""

    name = "counting"

    def __init__(self):
        self.sizes = []

    def encode(self, texts):
        self.sizes.append(len(texts))
        return np.array([[text.split().count(word) for word in WORDS] for text in texts], dtype=np.float32)


def judge(**settings):
    return EmbeddingJudge(Counting(), **settings)


def test_a_text_is_detected_at_or_above_the_threshold_and_its_probability_is_the_cosine():
    asked = [DetectionQuestion("cat", excerpt(text)) for text in ("cat cat", "cat dog", "dog", "nothing")]
    found = judge(detection_threshold=0.5).answer(asked)
    assert [a.value for a in found] == [True, True, False, False]
    assert [a.probability for a in found] == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, 0.5])


def test_fuzzing_compares_the_marked_words_alone():
    asked = [FuzzingQuestion("cat", excerpt("cat dog piano"), frozenset(marked)) for marked in ({0}, {1, 2}, ())]
    found = judge(fuzzing_threshold=0.5).answer(asked)
    assert [a.value for a in found] == [True, False, None]
    assert found[-1].reason == "no text to compare"


def test_without_a_threshold_there_is_a_rank_and_no_answer():
    (found,) = judge().answer([DetectionQuestion("cat", excerpt("cat"))])
    assert (found.value, found.probability, found.reason) == (None, 1.0, "no threshold was fitted")


def test_the_intruder_is_least_like_the_others():
    texts = tuple(excerpt(text) for text in ("cat", "cat dog", "piano", "cat cat dog"))
    asked = [IntruderQuestion(texts), IntruderQuestion(texts[:1]), IntruderQuestion((excerpt(" "), *texts))]
    assert [a.value for a in judge().answer(asked)] == [2, None, None]


def test_values_are_those_whose_meaning_is_most_like_the_examples():
    kind = LabelProperty("kind", "?", (LabelValue("animal", "cat dog"), LabelValue("thing", "piano")))
    note = LabelProperty("note", "?", (LabelValue("a", "cat"), LabelValue("b", "piano")), ("kind", "thing"))
    of = judge(spaces={"kinds": LabelSpace("kinds", (kind, note))})
    asked = [ClassificationQuestion(1, (excerpt(text),), "kinds") for text in ("a cat", "one piano", " ")]
    asked += [ClassificationQuestion(1, (excerpt("cat"),), "other"), DescriptionQuestion(1, (excerpt("cat"),))]
    found = of.answer(asked)
    assert [a.value for a in found] == [{"kind": "animal"}, {"kind": "thing", "note": "b"}, None, None, None]
    assert all(a.reason for a in found[2:])


def trials(texts, split="validation", scorer=DETECTION):
    marked = frozenset({0})
    return [Trial(1, scorer, i, None, split, yes, (excerpt(text),), marked) for i, (text, yes) in enumerate(texts)]


def test_thresholds_are_fitted_on_trials_of_other_documents_for_each_scorer():
    detection = trials([("cat", True), ("cat dog", True), ("dog", False), ("piano", False)])
    fuzzing = trials([("cat dog", True), ("dog cat", False)], scorer=FUZZING)
    found = judge().fitted([*detection, *fuzzing], {1: "cat"})
    assert found.detection_threshold == pytest.approx(0.5**0.5 / 2)
    assert found.fuzzing_threshold == pytest.approx(0.5)
    assert judge().fitted(detection, {1: None}).detection_threshold is None
    with pytest.raises(InputError, match="thresholds from test documents"):
        judge().fitted(trials([("cat", True)], split="test"), {1: "cat"})


def test_the_best_threshold_has_the_highest_balanced_accuracy_of_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(2, 30))
        labels = rng.random(n) < 0.4
        values = np.round(rng.normal(labels, 1), 1)
        found = best_threshold(values, labels)
        if labels.all() or not labels.any():
            assert found is None
            continue
        best = max(balanced_accuracy_score(labels, values >= cut) for cut in [*values, np.inf])
        assert balanced_accuracy_score(labels, values >= found) == pytest.approx(best)


def test_thresholds_of_nothing_of_one_class_and_of_equal_values():
    assert best_threshold(np.array([]), np.array([], dtype=bool)) is None
    assert best_threshold(np.array([1.0, np.nan]), np.array([True, False])) is None
    assert best_threshold(np.array([1.0, 1.0]), np.array([True, False])) == 1.0


def test_each_text_is_encoded_once_a_batch_and_many_questions_in_bounded_batches(monkeypatch):
    monkeypatch.setattr("ato.autointerp.embedding_judge._QUESTIONS_AT_A_TIME", 3)
    of = judge(detection_threshold=0.5)
    asked = [DetectionQuestion("cat", excerpt(text)) for text in ("cat", "dog", "dog", "cat dog", "piano")]
    together = of.answer(asked)
    assert of.encoder.sizes == [2, 3]
    assert together == list(itertools.chain.from_iterable(of.answer([question]) for question in asked))


def test_a_missing_or_altered_encoder_is_one_line_with_the_cure(tmp_path, monkeypatch):
    altered = tmp_path / "model.zip"
    altered.write_bytes(b"no")
    with pytest.raises(DamagedFileError, match="not the published file"):
        SentenceEncoder(altered)
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    with pytest.raises(UnavailableError, match="not installed: run `pip install"):
        SentenceEncoder()


def test_the_sentence_encoder_gives_its_published_figures_alone_and_among_others():
    encoder = SentenceEncoder()
    published = "This is an example sentence"  # model card of all-MiniLM-L6-v2
    alone, among = encoder.encode([published])[0], encoder.encode(["cats " * 400, published, ""])[1]
    np.testing.assert_allclose(alone[:3], [0.0676569, 0.0634959, 0.0487131], atol=1e-4)
    np.testing.assert_allclose(among, alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)
