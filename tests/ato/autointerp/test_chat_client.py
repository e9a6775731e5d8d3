"""The chat client against a server with every fault, and servers that ignore or refuse schemas (rows 9 and 10)."""

import json
import socket
from collections.abc import Iterator

import pytest

from ato.autointerp.budget import Usage
from ato.autointerp.chat_client import ChatClient, ChatRequest
from ato.autointerp.schemas import verdicts_schema
from ato.errors import DamagedFileError, RefusedError, SettingsError, UnavailableError, UnreachableError
from tests.judge_server import MODEL, Fault, JudgeServer

SECRET = "sk-very-secret"
MESSAGES = ({"role": "system", "content": "Judge."}, {"role": "user", "content": "Text 1:\nword"})
REQUEST = ChatRequest(MODEL, MESSAGES, verdicts_schema(1), max_tokens=20)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


class Client(ChatClient):
    """A client whose pauses are recorded instead of slept."""

    def __init__(self, url: str, **options):
        self.pauses: list[float] = []
        super().__init__(
            url, **{"max_attempts": 4, "jitter": lambda: 1.0, "sleep": self.pauses.append, "timeout": 5.0} | options
        )


@pytest.fixture
def client(server) -> Iterator[Client]:
    with Client(server.url) as opened:
        yield opened


def test_a_reply_comes_with_its_value_mode_and_usage(server, client):
    reply = client.ask(REQUEST)
    assert reply.value == {"answers": [True]}
    assert (reply.reason, reply.mode, reply.used) == (None, "json_schema", Usage(1, 100, 10))
    (body,) = server.requests
    assert body["messages"] == list(MESSAGES)
    assert {name: body[name] for name in ("temperature", "seed", "max_tokens")} == {
        "temperature": 0.0,
        "seed": 0,
        "max_tokens": 20,
    }


@pytest.mark.parametrize(
    ("refused", "mode", "first"),
    [
        ({"json_schema"}, "json_object", ["json_schema", "json_object"]),
        ({"json_schema", "json_object"}, "plain", ["json_schema", "json_object", "plain"]),
    ],
)
def test_a_server_that_refuses_a_form_is_asked_in_the_next_and_remembered(server, client, refused, mode, first):
    server.refused_modes = frozenset(refused)
    assert [client.ask(REQUEST).mode for _ in range(3)] == [mode] * 3
    assert server.modes() == [*first, mode, mode]
    assert "JSON schema" in server.requests[-1]["messages"][-1]["content"]


def test_a_server_that_ignores_the_schema_is_asked_in_the_next_form(server, client):
    server.ignores_schema = True
    replies = [client.ask(REQUEST) for _ in range(3)]
    assert [reply.reason for reply in replies] == ["no JSON in the reply", None, None]
    assert replies[0].text == "I think that it fires on words."
    assert [reply.mode for reply in replies] == ["json_schema", "json_object", "json_object"]


def test_a_form_that_has_worked_is_kept_when_a_later_reply_is_rejected(server, client):
    client.ask(REQUEST)
    server.faults = [Fault(content="Well.")]
    assert client.ask(REQUEST).reason == "no JSON in the reply"
    assert client.ask(REQUEST).mode == "json_schema"


@pytest.mark.parametrize("refused", [{"logprobs"}, {"seed", "temperature"}, {"max_tokens"}])
def test_parameters_that_a_refusal_names_are_left_out(server, client, refused):
    server.refused_parameters = frozenset(refused)
    assert client.ask(REQUEST).mode == "json_schema"
    assert client.ask(REQUEST).value == {"answers": [True]}
    assert not refused & set(server.requests[-1])
    assert server.requests[-1].get("max_completion_tokens") == (20 if "max_tokens" in refused else None)
    assert len(server.requests) == len(refused) + 2


def test_a_server_without_the_role_system_gets_its_text_with_the_users(server, client):
    server.refuses_system = True
    assert client.ask(REQUEST).mode == "json_schema"
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "Judge.\n\nText 1:\nword"}]
    client.ask(REQUEST)
    assert len(server.requests) == 3


def test_a_refusal_of_one_request_does_not_change_the_form_of_the_next(server, client):
    server.faults = [Fault(400, body=b'{"error": {"message": "the prompt is too long"}}')] * 3
    with pytest.raises(RefusedError, match="the prompt is too long"):
        client.ask(REQUEST)
    assert client.ask(REQUEST).mode == "json_schema"
    server.faults = [Fault(422, body=b"<html>")]
    with pytest.raises(RefusedError, match="status 422"):
        client.ask(REQUEST)
    assert len(server.requests) == 5


@pytest.mark.parametrize(("status", "cure"), [(401, "set JUDGE_KEY"), (403, "set JUDGE_KEY"), (404, "the model")])
def test_refusals_that_every_request_would_meet_fail_at_once_in_one_line(server, monkeypatch, status, cure):
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    server.faults = [Fault(status, body=json.dumps({"error": {"message": f"no {SECRET}"}}).encode())]
    client = Client(server.url, key_variable="JUDGE_KEY")
    with pytest.raises(RefusedError, match=cure) as caught:
        client.ask(REQUEST)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert client.pauses == []


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(server, monkeypatch):
    server.key = SECRET
    with pytest.raises(RefusedError, match="name the variable that holds the API key"):
        Client(server.url).ask(REQUEST)
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    client = Client(server.url, key_variable="JUDGE_KEY")
    assert client.ask(REQUEST).value
    server.faults = [Fault(400, body=json.dumps({"error": {"message": f"bad {SECRET}"}}).encode())]
    with pytest.raises(RefusedError) as caught:
        client.ask(REQUEST)
    assert SECRET not in f"{caught.value!s}{caught.value!r}{caught.value.said}{client!r}"
    monkeypatch.setenv("JUDGE_KEY", SECRET + "\nx")
    with pytest.raises(SettingsError) as damaged:
        Client(server.url, key_variable="JUDGE_KEY")
    assert SECRET not in str(damaged.value)


def test_a_busy_server_is_asked_again_when_it_says(server, client):
    server.faults = [Fault(429, retry_after="7"), Fault(500), Fault(503, retry_after="2")]
    attempts: list[int] = []
    assert client.ask(REQUEST, lambda: attempts.append(1)).value
    assert client.pauses == [7, 2.0, 2]
    assert len(attempts) == 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(reset=True),
        Fault(content="{}", cut=True),
        Fault(body=b"{"),
        Fault(body=b"[]"),
        Fault(body=b'{"choices": []}'),
        Fault(body=b'{"choices": [{"message": {"content": 3}}]}'),
    ],
)
def test_an_answer_that_is_no_completion_is_asked_for_again(server, client, fault):
    server.faults = [fault] * 2
    assert client.ask(REQUEST).value == {"answers": [True]}
    server.faults = [fault] * 4
    with pytest.raises((UnavailableError, DamagedFileError)) as caught:
        client.ask(REQUEST)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 7


def test_a_slow_server_is_given_up_and_asked_again(server):
    server.faults = [Fault(content="{}", seconds=0.4)]
    client = Client(server.url, timeout=0.1)
    assert client.ask(REQUEST).value
    assert len(client.pauses) == 1


def test_a_server_that_is_not_there_is_one_line_with_a_cure():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UnreachableError, match="start the judge's server"):
        Client(url).ask(REQUEST)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(content='{"answers": [tr', finish="length"), "cut off at its limit"),
        (Fault(content='{"answers": [yes]}'), "invalid JSON"),
        (Fault(content='{"answers": [true, true]}'), "breaks the schema"),
        (Fault(content=""), "empty"),
        (Fault(body=b'{"choices": [{"message": {"role": "assistant", "content": null}}]}'), "empty"),
    ],
)
def test_a_reply_that_breaks_the_schema_is_kept_with_the_reason(server, client, fault, reason):
    server.faults = [fault]
    reply = client.ask(REQUEST)
    assert reply.value is None
    assert reason in reply.reason
    assert reply.text == (fault.content or "")


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": 2}])
def test_usage_that_the_server_does_not_tell_is_none(server, client, usage):
    server.usage = lambda body: usage
    assert client.ask(REQUEST).used is None


def test_log_probabilities_of_the_server_become_those_of_the_answers(server, client):
    def told(text: str) -> list[dict]:
        at = text.index("true")
        pieces = [(text[:at], 0.0), ("true", -1.0), (text[at + 4 :], 0.0)]
        other = [{"token": "false", "logprob": -0.5, "bytes": None}]
        return [{"token": t, "logprob": p, "bytes": None, "top_logprobs": other if p else []} for t, p in pieces]

    server.logprobs = told
    assert client.ask(REQUEST).probabilities["answers/0"] == pytest.approx(1 / (1 + 2.718281828**0.5), abs=1e-6)
    server.logprobs = lambda text: [{"token": 5}]
    assert client.ask(REQUEST).probabilities == {}


def test_a_key_tells_requests_apart_by_all_that_is_asked():
    others = [
        ChatRequest("other", MESSAGES, verdicts_schema(1), max_tokens=20),
        ChatRequest(MODEL, MESSAGES[:1], verdicts_schema(1), max_tokens=20),
        ChatRequest(MODEL, MESSAGES, verdicts_schema(2), max_tokens=20),
        ChatRequest(MODEL, MESSAGES, verdicts_schema(1), temperature=1.0, max_tokens=20),
        ChatRequest(MODEL, MESSAGES, verdicts_schema(1), seed=1, max_tokens=20),
        ChatRequest(MODEL, MESSAGES, verdicts_schema(1), max_tokens=21),
    ]
    assert len({REQUEST.key, *(other.key for other in others)}) == 7
    assert REQUEST.key == ChatRequest(MODEL, MESSAGES, verdicts_schema(1), max_tokens=20).key


def test_the_bound_of_prompt_tokens_holds_for_a_token_a_byte():
    texts = sum(len(message["content"].encode()) for message in MESSAGES)
    assert REQUEST.most_prompt_tokens >= texts + len(json.dumps(REQUEST.schema))
