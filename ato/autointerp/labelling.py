"""From evidence to labels: a judge describes features, is tested on other documents with what it wrote, and is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.questions import Answer, ClassificationQuestion, DescriptionQuestion, Judge
from ato.autointerp.scores import Score, scores
from ato.autointerp.trial_results import TrialResult, best_candidate, put_to_judge, shuffled_descriptions
from ato.autointerp.trials import DETECTION, FUZZING, FeatureTrials, Trial, TrialPlan, draw_trials
from ato.errors import DataError, InputError
from ato.numerics.intervals import Estimate

if TYPE_CHECKING:
    from ato.autointerp.label_spaces import LabelSpace

VALIDATION, TEST = "validation", "test"
FITTED_ON = (DETECTION, FUZZING)


@runtime_checkable
class FittedJudge(Protocol):
    """A judge with thresholds, which validation documents set."""

    def fitted(self, trials: Sequence[Trial], descriptions: Mapping[int, str | None]) -> Judge:
        """The judge with the thresholds that are best on these trials."""
        ...


@dataclass(frozen=True)
class LabelPlan:
    """What is asked of each feature."""

    trials: TrialPlan = field(default_factory=TrialPlan)
    scorers: tuple[str, ...] = ("detection", "fuzzing", "intruder")
    n_candidates: int = 1
    """Descriptions a feature; of several, detection on validation documents chooses one."""
    shuffled: bool = True
    """Whether each feature is also tested with another one's description."""
    space: "LabelSpace | None" = None
    """Classes that features are put into."""

    def __post_init__(self) -> None:
        if self.n_candidates < 1:
            raise InputError("no description to test", cure="ask for at least one candidate")


@dataclass(frozen=True)
class ImportedDescription:
    """A description that somebody else wrote."""

    text: str
    origin: str
    """Where it is from."""


@dataclass(frozen=True)
class Candidate:
    """One description of a feature, or the reason why there is none."""

    answer: Answer
    validation: Score | None
    """Detection on validation documents; None if it was not needed to choose."""
    chosen: bool
    origin: str | None = None
    """Where an imported one is from; None of what the judge was asked for."""

    @property
    def text(self) -> str | None:
        """The description; None if the judge gave none."""
        return self.answer.value if isinstance(self.answer.value, str) and self.answer.value.strip() else None


@dataclass(frozen=True)
class LabelledFeature:
    """All that a judge said of one feature."""

    feature_id: int
    candidates: tuple[Candidate, ...]
    results: tuple[tuple[int, TrialResult], ...]
    """Candidate and answered trial, those on validation documents first; of shuffled descriptions its own candidate."""
    scores: tuple[Score, ...]
    """On test documents, of the chosen candidate, its control beside it; what could not be drawn has a reason."""
    classes: Answer | None
    """Value of each property of the label space; None without a space."""

    @property
    def description(self) -> str | None:
        """The chosen description."""
        return next((candidate.text for candidate in self.candidates if candidate.chosen), None)


def label_features(
    evidence: Sequence[FeatureEvidence],
    judge: Judge,
    plan: LabelPlan,
    describer: Judge | None = None,
    imported: Mapping[int, Sequence[ImportedDescription]] | None = None,
) -> list[LabelledFeature]:
    """Describe features together, test them and put them into classes; in the order of the evidence.

    Each kind of question is asked at once for all features, so that a judge may answer several at a time; the control of
    a feature is the description of another one of these. A judge with thresholds gets them from validation documents.

    Args:
        evidence: of the features.
        judge: tests descriptions and classifies.
        plan: what is asked.
        describer: writes the descriptions; default the judge.
        imported: feature -> further candidates, which compete with those: of equals the judge's own is chosen.

    Raises:
        InputError: a feature stands twice in the evidence.
        DataError: the judge gives another number of answers than it is asked questions.
    """
    ids = [one.feature_id for one in evidence]
    if len(set(ids)) < len(ids):
        raise InputError("a feature is to be labelled twice", cure="give each feature's evidence once")
    answers = _descriptions(evidence, describer or judge, plan)
    for feature, candidates in answers.items():
        candidates += [
            Candidate(Answer(one.text), None, False, one.origin) for one in (imported or {}).get(feature, ())
        ]
    validated, validation = _validated(evidence, judge, plan, answers)
    chosen = {feature: _choice(answers[feature], validated.get(feature)) for feature in ids}
    described = {feature: answers[feature][chosen[feature]].text for feature in ids}
    if isinstance(judge, FittedJudge):
        known = [trial for one in evidence for trial in draw_trials(one, VALIDATION, plan.trials, FITTED_ON).trials]
        judge = judge.fitted(known, described)
    tested, reasons = _tested(evidence, judge, plan, described)
    classes = _classes(evidence, judge, plan)
    found = []
    for feature in ids:
        marked = tuple(
            replace(one, validation=score, chosen=one.text is not None and number == chosen[feature])
            for number, (one, score) in enumerate(
                zip(answers[feature], validated.get(feature) or [None] * len(answers[feature]), strict=True)
            )
        )
        own = [result for result in tested if result.trial.feature_id == feature]
        results = (*validation.get(feature, ()), *((chosen[feature], result) for result in own))
        missing = _unscored(reasons[feature], plan)
        found.append(LabelledFeature(feature, marked, results, (*scores(own), *missing), classes.get(feature)))
    return found


def _descriptions(evidence: Sequence[FeatureEvidence], judge: Judge, plan: LabelPlan) -> dict[int, list[Candidate]]:
    pairs = [(one, number) for one in evidence for number in range(plan.n_candidates)]
    asked = [pair for pair in pairs if pair[0].examples]
    questions = [DescriptionQuestion(one.feature_id, one.examples, one.promoted, number) for one, number in asked]
    answered = _ask(judge, questions)
    given = {(one.feature_id, number): answer for (one, number), answer in zip(asked, answered)}
    found: dict[int, list[Candidate]] = {}
    for one, number in pairs:
        answer = given.get((one.feature_id, number)) or Answer(None, reason="no example: it fires in no train document")
        if answer.value is None or not str(answer.value).strip():
            answer = Answer(None, reason=answer.reason or "an empty description", call=answer.call)
        found.setdefault(one.feature_id, []).append(Candidate(answer, None, False))
    return found


def _validated(
    evidence: Sequence[FeatureEvidence], judge: Judge, plan: LabelPlan, answers: dict[int, list[Candidate]]
) -> tuple[dict[int, list[Score | None]], dict[int, list[tuple[int, TrialResult]]]]:
    """Of features with several descriptions: the score of each on validation documents, and its trials."""
    several = [one for one in evidence if len({c.text for c in answers[one.feature_id]} - {None}) > 1]
    if not several:
        return {}, {}
    drawn = [t for one in several for t in draw_trials(one, VALIDATION, plan.trials, [DETECTION]).trials]
    found: dict[int, list[Score | None]] = {one.feature_id: [] for one in several}
    rows: dict[int, list[tuple[int, TrialResult]]] = {one.feature_id: [] for one in several}
    for number in range(max(len(answers[feature]) for feature in found)):
        texts = {feature: answers[feature][number].text for feature in found if number < len(answers[feature])}
        results = put_to_judge(judge, [trial for trial in drawn if trial.feature_id in texts], texts)
        for feature, of in ((feature, found[feature]) for feature in texts):
            own = [result for result in results if result.trial.feature_id == feature]
            rows[feature] += [(number, result) for result in own]
            of.append(next((score for score in scores(own) if score.tier is None), None))
    return found, rows


def _choice(candidates: Sequence[Candidate], validated: Sequence[Score | None] | None) -> int:
    """The best on validation documents; where nothing was measured, the first that has words."""
    measured = [None if one is None else one.value.value for one in validated or ()]
    best = best_candidate(measured) if measured else None
    return next((i for i, one in enumerate(candidates) if one.text is not None), 0) if best is None else best


def _tested(
    evidence: Sequence[FeatureEvidence], judge: Judge, plan: LabelPlan, described: dict[int, str | None]
) -> tuple[list[TrialResult], dict[int, FeatureTrials]]:
    drawn = {one.feature_id: draw_trials(one, TEST, plan.trials, plan.scorers) for one in evidence}
    trials = [trial for feature in drawn.values() for trial in feature.trials]
    results = put_to_judge(judge, trials, described)
    if plan.shuffled:
        others = shuffled_descriptions(described, plan.trials.seed)
        again = [trial for trial in trials if trial.needs_description and others[trial.feature_id] is not None]
        results += put_to_judge(judge, again, others, control=True)
    return results, drawn


def _classes(evidence: Sequence[FeatureEvidence], judge: Judge, plan: LabelPlan) -> dict[int, Answer]:
    if plan.space is None:
        return {}
    asked = [one for one in evidence if one.examples]
    questions = [ClassificationQuestion(one.feature_id, one.examples, plan.space.name, one.promoted) for one in asked]
    found = {one.feature_id: answer for one, answer in zip(asked, _ask(judge, questions))}
    nothing = Answer(None, reason="no example: it fires in no train document")
    return {one.feature_id: found.get(one.feature_id, nothing) for one in evidence}


def _ask(judge: Judge, questions: Sequence[DescriptionQuestion | ClassificationQuestion]) -> list[Answer]:
    answers = judge.answer(questions) if questions else []
    if len(answers) != len(questions):
        raise DataError(f"judge {judge.name} gave {len(answers)} answers to {len(questions)} questions")
    return answers


def _unscored(drawn: FeatureTrials, plan: LabelPlan) -> tuple[Score, ...]:
    """A score without a value for each test, or tier of one, that has too few windows."""
    found = []
    for (scorer, tier), reason in sorted(drawn.reasons.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        chance = 1 / (plan.trials.group_size + 1) if scorer == "intruder" else 0.5
        found.append(Score(scorer, tier, False, Estimate(None), None, None, 0, 0, 0, chance, reason))
    return tuple(found)
