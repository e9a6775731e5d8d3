"""The embedding judge: compares texts with descriptions by the similarity of their embeddings; it calls no model server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ato.autointerp.label_spaces import LabelSpace, LabelValue
from ato.autointerp.questions import (
    Answer,
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
    Question,
)
from ato.autointerp.trials import DETECTION, FUZZING, Trial
from ato.autointerp.word_forms import marked_words
from ato.errors import InputError

_QUESTIONS_AT_A_TIME = 2048
"""Bounds the embeddings that are held at once."""


class Encoder(Protocol):
    """Turns texts into vectors whose cosine says how alike the texts are."""

    @property
    def name(self) -> str:
        """Of the model."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float32, one row a text, which depends on that text alone."""


@dataclass(frozen=True)
class EmbeddingJudge:
    """Answers by cosine similarity; ``probability`` is (1 + cosine) / 2, a rank and no frequency.

    - Detection: yes where text and description are at least as similar as a threshold.
    - Fuzzing: likewise for the marked words alone.
    - Intruder: the text that is the least similar to the others' mean.
    - Classification: the value whose name and meaning are the most similar to the examples, on average.
    - Description: none; it writes no text.

    Thresholds are those of ``fitted``; without one a question has a probability and no answer.
    """

    encoder: Encoder
    detection_threshold: float | None = None
    """Smallest cosine that is a yes."""
    fuzzing_threshold: float | None = None
    spaces: Mapping[str, LabelSpace] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return f"embedding {self.encoder.name}"

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in their order."""
        found: list[Answer] = []
        for start in range(0, len(questions), _QUESTIONS_AT_A_TIME):
            part = questions[start : start + _QUESTIONS_AT_A_TIME]
            vectors = self._vectors(part)
            found += [self._answer(question, vectors) for question in part]
        return found

    def fitted(self, trials: Sequence[Trial], descriptions: Mapping[int, str | None]) -> "EmbeddingJudge":
        """The judge with the thresholds that are best on these trials; None where a class has none.

        Args:
            trials: of any features, of train or validation documents; others than detection and fuzzing are ignored.
            descriptions: feature -> description; trials of features without one are ignored.

        Raises:
            InputError: a trial is of a test document.
        """
        if any(trial.split == "test" for trial in trials):
            raise InputError("thresholds from test documents", cure="fit them on validation trials")
        asked = [trial for trial in trials if (descriptions.get(trial.feature_id) or "").strip()]
        found = []
        for scorer in (DETECTION, FUZZING):
            own = [trial for trial in asked if trial.scorer == scorer]
            answers = self.answer([trial.question(descriptions[trial.feature_id]) for trial in own])
            cosines = np.array([np.nan if a.probability is None else 2 * a.probability - 1 for a in answers])
            found.append(best_threshold(cosines, np.array([trial.expected for trial in own], dtype=bool)))
        return replace(self, detection_threshold=found[0], fuzzing_threshold=found[1])

    def _vectors(self, questions: Sequence[Question]) -> dict[str, np.ndarray]:
        texts = sorted({text for question in questions for text in self._texts(question) if text.strip()})
        if not texts:
            return {}
        rows = np.asarray(self.encoder.encode(texts), dtype=np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return dict(zip(texts, np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)))

    def _texts(self, question: Question) -> list[str]:
        match question:
            case DetectionQuestion():
                return [question.description, question.excerpt.text]
            case FuzzingQuestion():
                return [question.description, _marked_text(question)]
            case IntruderQuestion():
                return [excerpt.text for excerpt in question.excerpts]
            case ClassificationQuestion():
                space = self.spaces.get(question.space)
                values = [_value_text(value) for of in space.properties for value in of.values] if space else []
                return [excerpt.text for excerpt in question.examples] + values
            case DescriptionQuestion():
                return []

    def _answer(self, question: Question, vectors: Mapping[str, np.ndarray]) -> Answer:
        match question:
            case DescriptionQuestion():
                return Answer(None, reason="the embedding judge writes no descriptions")
            case DetectionQuestion():
                return _thresholded(question.description, question.excerpt.text, vectors, self.detection_threshold)
            case FuzzingQuestion():
                return _thresholded(question.description, _marked_text(question), vectors, self.fuzzing_threshold)
            case IntruderQuestion():
                return _intruder(question, vectors)
            case ClassificationQuestion():
                return self._classify(question, vectors)

    def _classify(self, question: ClassificationQuestion, vectors: Mapping[str, np.ndarray]) -> Answer:
        space = self.spaces.get(question.space)
        examples = [vectors[excerpt.text] for excerpt in question.examples if excerpt.text in vectors]
        if space is None or not examples:
            what = f"unknown label space {question.space}" if space is None else "no examples"
            return Answer(None, reason=what)
        mean = np.mean(examples, axis=0)
        found: dict[str, str] = {}
        for of in space.properties:
            if of.applies(found):
                similarity = [mean @ vectors[_value_text(value)] for value in of.values]
                found[of.name] = of.values[int(np.argmax(similarity))].name
        return Answer(found)


def best_threshold(values: np.ndarray, labels: np.ndarray) -> float | None:
    """The cut of the highest balanced accuracy, yes at or above it; of equal ones that in the widest gap.

    Args:
        values: [n]; NaN is left out.
        labels: [n] bool.

    Returns:
        Midway between two neighbouring values, or at the smallest; None where a class is empty.
    """
    known = ~np.isnan(values)
    levels, inverse = np.unique(values[known], return_inverse=True)
    labels = labels[known]
    if labels.all() or not labels.any():
        return None
    yes = np.bincount(inverse, labels, minlength=len(levels)) / labels.sum()
    no = np.bincount(inverse, ~labels, minlength=len(levels)) / (~labels).sum()
    # A cut below level i says yes from i on: the gain is the share of yes there and of no before.
    accuracy = (yes.sum() - (np.cumsum(yes) - yes)) + (np.cumsum(no) - no)
    below = np.concatenate([levels[:1], levels[:-1]])
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    chosen = best[np.argmax((levels - below)[best])]
    return float((levels[chosen] + below[chosen]) / 2)


def _thresholded(description: str, text: str, vectors: Mapping[str, np.ndarray], threshold: float | None) -> Answer:
    if description not in vectors or text not in vectors:
        return Answer(None, reason="no text to compare")
    cosine = float(vectors[description] @ vectors[text])
    probability = min(max((1 + cosine) / 2, 0.0), 1.0)
    if threshold is None:
        return Answer(None, probability, "no threshold was fitted")
    return Answer(cosine >= threshold, probability)


def _intruder(question: IntruderQuestion, vectors: Mapping[str, np.ndarray]) -> Answer:
    rows = [vectors.get(excerpt.text) for excerpt in question.excerpts]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows) or len(rows) < 2:
        return Answer(None, reason="no texts to compare")
    vectors_of = np.stack(known)
    alike = vectors_of @ vectors_of.T
    return Answer(int(np.argmin(alike.sum(1) - np.diag(alike))))


def _marked_text(question: FuzzingQuestion) -> str:
    return " ".join(marked_words(question.excerpt, question.marked)[0])


def _value_text(value: LabelValue) -> str:
    return f"{value.name}: {value.meaning}"
