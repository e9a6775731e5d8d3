"""The language-model judge: each question its own answer, nothing asked twice, no budget exceeded."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ato.autointerp.budget import Budget, Limits, Prices, Usage
from ato.autointerp.call_cache import MemoryCalls, taken_by
from ato.autointerp.chat_client import ChatClient
from ato.autointerp.llm_judge import JudgeOptions, LanguageModelJudge
from ato.autointerp.questions import DescriptionQuestion, DetectionQuestion, FuzzingQuestion, IntruderQuestion
from ato.errors import InputError, RefusedError, SettingsError, UnavailableError, UnreachableError
from tests.ato.autointerp.judge_questions import SPACES, classification, descriptions, excerpt, intruder, trials
from tests.judge_server import MODEL, Fault, JudgeServer, filled, schema_of


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


@pytest.fixture
def judge(server) -> Iterator:
    clients = []

    def make(budget: Budget | None = None, store: MemoryCalls | None = None, **options) -> LanguageModelJudge:
        client = ChatClient(server.url, max_attempts=2, sleep=lambda seconds: None, timeout=5.0)
        clients.append(client)
        chosen = JudgeOptions(**{"model": MODEL} | options)
        return LanguageModelJudge(client, chosen, store=store, budget=budget, spaces=SPACES)

    yield make
    for client in clients:
        client.close()


def shown_texts(body: dict) -> list[str]:
    user = body["messages"][1]["content"]
    return [text.strip() for text in re.split(r"Text \d+:\n", user)[1:]]


def answers_by_text(body: dict) -> object:
    """Yes where the text's number is even."""
    schema = schema_of(body)
    if "answers" not in schema["properties"]:
        return filled(schema)
    return {"answers": [int(re.search(r"text\W* (\d+)", text)[1]) % 2 == 0 for text in shown_texts(body)]}


def test_each_kind_of_question_gets_its_answer(server, judge):
    questions = [descriptions(1)[0], *trials(0, 1), intruder(), classification()]
    answers = judge().answer(questions)
    assert [answer.value for answer in answers] == [
        "fires on words", True, True, 0, {"category": "domain", "confidence": "high"},
    ]  # fmt: skip
    assert all(answer.call and answer.reason is None for answer in answers)
    assert len(server.requests) == 5


def test_each_trial_gets_its_own_answer_whatever_their_order(server, judge):
    server.answer = answers_by_text
    questions = [*trials(0, 13), *trials(1, 4)]
    mixed = random.Random(0).sample(questions, len(questions))
    for asked in (questions, mixed):
        for question, answer in zip(asked, judge().answer(asked)):
            assert answer.value == (int(re.search(r"text (\d+)", question.excerpt.text)[1]) % 2 == 0)
    assert len(server.requests) == 2 * 2 * (3 + 1)
    keys = [json.dumps(body["messages"]) for body in server.requests]
    assert len(set(keys)) == len(keys) // 2  # the requests do not depend on the order of the questions


def test_the_order_of_texts_in_a_request_does_not_show_the_order_of_the_list(server, judge):
    judge(texts_per_request=40).answer([DetectionQuestion("words", excerpt(f"text {k} is")) for k in range(40)])
    order = [int(re.search(r"text (\d+)", text)[1]) for text in shown_texts(server.requests[0])]
    assert sorted(order) == list(range(40))
    first = sum(k < 20 for k in order[:20])
    assert 5 <= first <= 15


def test_marked_tokens_are_exactly_those_of_the_question_in_examples_and_trials(server, judge):
    words = "a << b c d"
    example = excerpt(words, "c")
    judge().answer([DescriptionQuestion(0, (example,)), FuzzingQuestion("c", excerpt(words), frozenset({0, 4}))])
    describing, fuzzing = (
        body["messages"] for body in sorted(server.requests, key=lambda body: len(body["messages"][1]["content"]))
    )
    assert describing[1]["content"].endswith("a << b[[ c]] d")
    assert fuzzing[1]["content"].endswith("[[a]] << b c[[ d]]")
    assert all("between [[ and ]]" in system["content"] for system, _ in (describing, fuzzing))


def test_a_label_space_is_asked_with_what_its_properties_and_values_mean(server, judge):
    judge().answer([classification()])
    (body,) = server.requests
    assert "- category: What is it about?\n  - domain: a field\n  - language: text" in body["messages"][0]["content"]
    assert "- confidence: How sure is it? It counts only where category is domain." in body["messages"][0]["content"]
    assert list(schema_of(body)["properties"]) == ["category", "confidence"]
    assert "<< word0>>" in body["messages"][1]["content"]


def test_candidates_are_drawn_anew_and_everything_else_is_not(server, judge):
    question = descriptions(1)[0]
    candidates = [DescriptionQuestion(0, question.examples, question.promoted, candidate) for candidate in range(3)]
    judge(seed=5).answer([*candidates, question])
    asked = sorted((body["seed"], body["temperature"]) for body in server.requests)
    assert asked == [(5, 0.0), (6, 0.8), (7, 0.8)]


def test_what_is_answered_is_not_asked_again(server, judge):
    store, questions = MemoryCalls(), [*descriptions(3), *trials(0), *trials(0), intruder()]
    first = judge(store=store).answer(questions)
    n = len(server.requests)
    assert n == 3 + 2 + 2 + 1
    assert judge(store=store).answer(questions) == first
    assert judge(store=store).estimate(questions).calls == 0
    assert len(server.requests) == n


def test_nothing_is_asked_about_what_no_judge_can_see(server, judge):
    questions = [
        DetectionQuestion(" ", excerpt("a b")),
        DetectionQuestion("words", excerpt(" \n ")),
        DescriptionQuestion(0, ()),
        IntruderQuestion((excerpt("a"), excerpt(""))),
    ]
    answers = judge().answer(questions)
    assert [answer.reason for answer in answers] == ["no description", "empty text", "no examples", "empty text"]
    assert judge().answer([]) == []
    assert server.requests == []


def test_a_rejected_reply_is_kept_counted_and_asked_once_more(server, judge):
    server.faults = [Fault(content='{"answers": [true]}')]
    store, budget = MemoryCalls(), Budget()
    answers = judge(budget, store).answer(trials(0, 3)[:3])
    assert [answer.value for answer in answers] == [True] * 3
    records = list(store.records())
    assert [record.status for record in records] == ["rejected", "answered"]
    assert records[0].reply == '{"answers": [true]}'
    assert "answers breaks the schema" in records[0].reason
    assert answers[0].call == records[1].call
    assert budget.spent == Usage(2, 200, 20)
    again = server.requests[1]["messages"]
    assert again[2] == {"role": "assistant", "content": '{"answers": [true]}'}
    assert "was rejected: answers breaks the schema" in again[3]["content"]


def test_two_rejected_replies_are_no_answer_with_the_reason_and_are_not_asked_a_third_time(server, judge):
    server.faults = [Fault(content="no")] * 2
    store = MemoryCalls()
    for _ in range(2):
        answers = judge(store=store).answer(trials(0, 3)[:3])
        assert [answer.value for answer in answers] == [None] * 3
        assert answers[0].reason == "rejected: no JSON in the reply"
    assert len(server.requests) == 2
    assert [record.status for record in store.records()] == ["rejected"] * 2


def test_a_failed_call_is_recorded_and_made_again_by_the_next_run(server, judge):
    server.faults = [Fault(500)] * 2
    store = MemoryCalls()
    (answer,) = judge(store=store).answer([intruder()])
    (record,) = store.records()
    assert answer.reason.startswith("failed: answered 500 after 2 attempts")
    assert (record.status, record.n_attempts, record.cost, record.reply) == ("failed", 2, None, None)
    (answer,) = judge(store=store).answer([intruder()])
    assert answer.value == 0
    assert [record.status for record in store.records()] == ["answered"]


def test_a_prompt_that_the_server_refuses_costs_no_other_answer(server, judge):
    judge_ = judge(concurrency=1)
    judge_.answer([intruder(99)])  # the server's form is known
    server.faults = [Fault(400, body=b'{"error": {"message": "too long"}}')] * 5
    answers = judge_.answer([intruder(i) for i in range(7)])
    assert [answer.value for answer in answers] == [None] * 5 + [0] * 2
    assert "too long" in answers[0].reason


def test_a_server_whose_calls_fail_one_after_the_other_is_given_up(server, judge):
    server.faults = [Fault(500)] * 100
    with pytest.raises(UnavailableError, match="answered 500"):
        judge(concurrency=1).answer([intruder(i) for i in range(20)])
    assert len(server.requests) == 3 * 2


def test_refused_keys_and_servers_that_are_gone_end_the_run_and_keep_what_is_answered(server, judge):
    store, questions = MemoryCalls(), [intruder(i) for i in range(10)]

    def stop(number: int) -> None:
        if number == 4:
            server.key = "another"

    server.on_request = stop
    with pytest.raises(RefusedError, match="status 401"):
        judge(store=store, concurrency=1).answer(questions)
    assert len(list(store.records())) == 3
    server.key = None
    assert all(answer.value == 0 for answer in judge(store=store).answer(questions))
    assert len(server.answered) == 10
    server.__exit__()
    with pytest.raises(UnreachableError):
        judge().answer(questions)


def test_no_more_requests_are_under_way_than_allowed(server, judge):
    server.faults = [Fault(content='{"intruder": 2}', seconds=0.02) for _ in range(12)]
    answers = judge(concurrency=3).answer([intruder(i) for i in range(12)])
    assert [answer.value for answer in answers] == [1] * 12
    assert 2 <= server.most_at_once <= 3


@pytest.mark.parametrize(
    ("limits", "calls"),
    [(Limits(calls=7), 7), (Limits(calls=0), 0), (Limits(tokens=4000), None), (Limits(money=0.5), None)],
)
def test_a_budget_is_never_exceeded_and_what_is_answered_counts(server, judge, limits, calls):
    server.usage = lambda body: {"prompt_tokens": len(body["messages"][1]["content"]), "completion_tokens": 10}
    budget, questions = Budget(limits, Prices(100, 400)), [intruder(i) for i in range(60)]
    store = MemoryCalls()
    answers = judge(budget, store, concurrency=8).answer(questions)
    answered = [answer for answer in answers if answer.value is not None]
    assert len(answered) == len(server.requests) == len(list(store.records())) == budget.spent.calls
    assert calls is None or len(answered) == calls
    assert len(answered) < 60
    assert {answer.reason for answer in answers if answer.value is None} == {"budget"}
    assert limits.allow(budget.spent, budget.prices)
    assert sum(record.cost for record in store.records()) == pytest.approx(budget.spent.cost(budget.prices))
    assert judge(store=store).answer(questions)[-1].value == 0
    assert len(server.requests) == 60


def test_without_counts_of_the_server_a_call_takes_what_it_may_at_most(server, judge):
    server.usage = lambda body: None
    budget, store = Budget(), MemoryCalls()
    judge(budget, store).answer([intruder()])
    (record,) = store.records()
    assert (record.prompt_tokens, record.completion_tokens, record.cost) == (None, None, None)
    assert budget.spent.prompt_tokens > len(server.requests[0]["messages"][1]["content"])


def test_a_dry_run_asks_nothing_and_says_what_is_left_to_ask(server, judge):
    store, questions = MemoryCalls(), [*descriptions(4), *trials(0, 6), classification()]
    asked = judge(Budget(prices=Prices(1, 2)), store)
    estimate = asked.estimate(questions)
    assert server.requests == []
    assert estimate.calls == 4 + 2 * 2 + 1
    usage = estimate.usage
    assert estimate.cost == pytest.approx((usage.prompt_tokens + 2 * usage.completion_tokens) / 1e6)
    asked.answer(questions[:4])
    assert asked.estimate(questions).calls == 5
    asked.answer(questions)
    assert asked.estimate(questions) == judge(store=store).estimate([])
    assert len(server.requests) == estimate.calls


def test_a_resumed_budget_goes_on_from_what_was_taken(server, judge):
    store, questions = MemoryCalls(), [intruder(i) for i in range(9)]
    for n_asked in (4, 6, 6):
        server.faults = [Fault(content="no")] if not server.requests else []
        judge(Budget(Limits(calls=n_asked), spent=taken_by(store.records())), store).answer(questions)
        assert len(server.requests) == n_asked
    assert taken_by(store.records()) == Usage(6, 600, 60)


def test_descriptions_that_look_the_same_are_asked_once(server, judge):
    text = excerpt("a b")
    answers = judge().answer([DetectionQuestion("some  words", text), DetectionQuestion(" some words\n", text)])
    assert [answer.value for answer in answers] == [True, True]
    assert len(server.requests) == 1


def test_judges_are_made_without_loading_torch():
    code = "import ato.autointerp.llm_judge, sys; print({'torch', 'transformers', 'numpy', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_settings_that_cannot_be_are_refused_in_one_line(judge):
    with pytest.raises(InputError, match="choose from: kinds"):
        judge().answer([classification(space="colours")])
    for wrong in ({"texts_per_request": 0}, {"concurrency": 0}, {"temperature": -1.0}, {"thinking_tokens": -1}):
        with pytest.raises(SettingsError):
            JudgeOptions(MODEL, **wrong)
    assert judge().name == MODEL
