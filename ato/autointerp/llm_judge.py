"""The judge that is a language model behind an OpenAI-compatible server.

Questions of detection and fuzzing about one description go several to a request, in an order that depends on the texts
alone: neither that of the list nor the right answers show in it.
"""

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ato.autointerp.budget import Budget, Usage
from ato.autointerp.call_cache import CallStore, MemoryCalls
from ato.autointerp.chat_client import ChatClient, ChatRequest
from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.prompts import Prompt, classify, describe, detect, find_intruder, fuzz
from ato.autointerp.questions import (
    Answer,
    ClassificationQuestion,
    DescriptionQuestion,
    DetectionQuestion,
    FuzzingQuestion,
    IntruderQuestion,
    Question,
)
from ato.autointerp.recorded_calls import Outcome, RecordedCalls
from ato.errors import InputError, SettingsError

BYTES_PER_TOKEN = 4
"""Of English, about: what estimates are made with."""


@dataclass(frozen=True)
class JudgeOptions:
    """How a model is asked.

    Raises:
        SettingsError: a number out of range.
    """

    model: str
    """Its name on the server."""
    temperature: float = 0.0
    candidate_temperature: float = 0.8
    """Of descriptions beyond the first of the same examples."""
    seed: int = 0
    texts_per_request: int = 5
    """Questions of detection and fuzzing in one request; with 1, no answer depends on another question."""
    concurrency: int = 4
    """Requests under way at once."""
    thinking_tokens: int = 0
    """Tokens that a reply may take beyond its form: for models that think before they answer."""

    def __post_init__(self) -> None:
        least = {"texts_per_request": 1, "concurrency": 1, "thinking_tokens": 0}
        least |= {"temperature": 0, "candidate_temperature": 0}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise SettingsError(f"{name} is {getattr(self, name)}", cure=f"use {bound} or more")


@dataclass(frozen=True)
class Estimate:
    """What questions would take, before any is asked."""

    usage: Usage
    """Calls not made yet; prompt tokens at ``BYTES_PER_TOKEN``, completion tokens as many as a reply may have."""
    cost: float

    @property
    def calls(self) -> int:
        """Calls not made yet; rejected replies, asked once more, come on top."""
        return self.usage.calls


@dataclass(frozen=True)
class _Asked:
    """A request, and which questions each part of its reply answers."""

    request: ChatRequest
    purpose: str
    parts: tuple[tuple[int, ...], ...]
    """Of each text of a group, or of the single question: places in the list of questions."""


class LanguageModelJudge:
    """Answers every kind of question by a language model.

    Args:
        client: of its server.
        options: how it is asked.
        store: of the calls; what is answered there is not asked again.
        budget: that pays. When it is exhausted, the rest of the answers are None with the reason ``budget``.
        spaces: label spaces by name, for questions of classification.
        name: as it stands in the tables; default that of the model.
    """

    def __init__(
        self,
        client: ChatClient,
        options: JudgeOptions,
        *,
        store: CallStore | None = None,
        budget: Budget | None = None,
        spaces: Mapping[str, LabelSpace] | None = None,
        name: str | None = None,
    ):
        self._options, self._spaces, self._name = options, dict(spaces or {}), name or options.model
        self._budget = budget or Budget()
        self._calls = RecordedCalls(self._name, client, MemoryCalls() if store is None else store, self._budget)

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return self._name

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in their order.

        Raises:
            InputError: an unknown label space.
            UnreachableError, RefusedError, UnavailableError: see ``RecordedCalls.ask``. What was answered is recorded.
        """
        answers = [_unasked(question) for question in questions]
        asked, given_up = list(self._asked(questions)), threading.Event()

        def ask(one: _Asked) -> Outcome:
            if given_up.is_set():  # the error of another call is about to end this
                return Outcome(None)
            try:
                return self._calls.ask(one.request, one.purpose)
            except BaseException:
                given_up.set()
                raise

        pool = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix="judge")
        try:
            for one, outcome in zip(asked, pool.map(ask, asked)):
                for part, places in enumerate(one.parts):
                    for place in places:
                        answers[place] = _answer(questions[place], outcome, part)
        finally:
            given_up.set()
            pool.shutdown(cancel_futures=True)
        return [answer or Answer(None, reason="not asked") for answer in answers]

    def estimate(self, questions: Sequence[Question]) -> Estimate:
        """What the questions would take; nothing is asked.

        Raises:
            InputError: an unknown label space.
        """
        usage = Usage()
        for one in self._asked(questions):
            if not self._calls.is_settled(one.request):
                texts = sum(len(message["content"].encode()) for message in one.request.messages)
                usage += Usage(1, -(-texts // BYTES_PER_TOKEN), one.request.max_tokens)
        return Estimate(usage, usage.cost(self._budget.prices))

    def _asked(self, questions: Sequence[Question]) -> Iterator[_Asked]:
        """The requests that the questions make; equal ones are made once."""
        alone: dict[str, tuple[ChatRequest, str, list[int]]] = {}
        groups: dict[tuple[type, str], dict[str, list[int]]] = {}
        for place, question in enumerate(questions):
            if _unasked(question) is not None:
                continue
            if isinstance(question, DetectionQuestion | FuzzingQuestion):
                shown = " ".join(question.description.split())  # as prompts have it
                group = groups.setdefault((type(question), shown), {})
                group.setdefault(_text_key(question), []).append(place)
            else:
                request, purpose = self._request_alone(question)
                alone.setdefault(request.key, (request, purpose, []))[2].append(place)
        for request, purpose, places in alone.values():
            yield _Asked(request, purpose, (tuple(places),))
        for (_, description), group in groups.items():
            texts, n = sorted(group), self._options.texts_per_request
            for some in (texts[first : first + n] for first in range(0, len(texts), n)):
                prompt = _grouped(description, [questions[group[key][0]] for key in some])
                request = self._request(prompt, self._options.temperature, self._options.seed)
                yield _Asked(request, prompt.purpose, tuple(tuple(group[key]) for key in some))

    def _request_alone(self, question: Question) -> tuple[ChatRequest, str]:
        temperature, seed = self._options.temperature, self._options.seed
        if isinstance(question, DescriptionQuestion):
            prompt = describe(question)
            if question.candidate:
                temperature, seed = self._options.candidate_temperature, seed + question.candidate
        elif isinstance(question, IntruderQuestion):
            prompt = find_intruder(question)
        elif isinstance(question, ClassificationQuestion):
            if question.space not in self._spaces:
                known = ", ".join(sorted(self._spaces)) or "none is known"
                raise InputError(f"unknown label space {question.space!r}", cure=f"choose from: {known}")
            prompt = classify(question, self._spaces[question.space])
        else:
            raise InputError(
                f"a judge cannot be asked a {type(question).__name__}", cure="ask one question of questions.py"
            )
        return self._request(prompt, temperature, seed), prompt.purpose

    def _request(self, prompt: Prompt, temperature: float, seed: int) -> ChatRequest:
        limit = prompt.max_tokens + self._options.thinking_tokens
        return ChatRequest(self._options.model, prompt.messages, prompt.schema, temperature, seed, limit)


def _grouped(description: str, questions: Sequence[Question]) -> Prompt:
    """One prompt of questions of one kind about one description."""
    if fuzzing := [question for question in questions if isinstance(question, FuzzingQuestion)]:
        return fuzz(description, fuzzing)
    return detect(description, [question for question in questions if isinstance(question, DetectionQuestion)])


def _text_key(question: DetectionQuestion | FuzzingQuestion) -> str:
    """Tells the texts of a group apart, and orders them in a way that says nothing about them."""
    marked = sorted(question.marked) if isinstance(question, FuzzingQuestion) else []
    told = repr((question.excerpt.tokens, marked))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _unasked(question: Question) -> Answer | None:
    """The answer to a question that no judge can answer; None for others."""
    if isinstance(question, DetectionQuestion | FuzzingQuestion):
        if not question.description.strip():
            return Answer(None, reason="no description")
        if not question.excerpt.text.strip():
            return Answer(None, reason="empty text")
        return None
    texts = question.excerpts if isinstance(question, IntruderQuestion) else question.examples
    if not texts:
        return Answer(None, reason="no examples")
    if isinstance(question, IntruderQuestion) and not all(excerpt.text.strip() for excerpt in texts):
        return Answer(None, reason="empty text")
    return None


def _answer(question: Question, outcome: Outcome, part: int) -> Answer:
    """What a reply says to one of the questions that it was asked."""
    call = outcome.record.call if outcome.record else None
    if outcome.value is None or outcome.record is None:
        return Answer(None, reason=outcome.reason, call=call)
    value, probabilities = outcome.value, outcome.record.probabilities
    if isinstance(question, DetectionQuestion | FuzzingQuestion):
        return Answer(value["answers"][part], probabilities.get(f"answers/{part}"), call=call)
    if isinstance(question, IntruderQuestion):
        return Answer(int(value["intruder"]) - 1, probabilities.get("intruder"), call=call)
    if isinstance(question, DescriptionQuestion):
        description = " ".join(value["description"].split())
        return Answer(description or None, reason=None if description else "empty description", call=call)
    own = [probabilities[name] for name in value if name in probabilities]
    return Answer(value, math.prod(own) if len(own) == len(value) else None, call=call)
