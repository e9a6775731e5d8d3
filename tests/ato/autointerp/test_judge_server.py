"""A local model behind the chat protocol: it always answers in the schema, with counts and log-probabilities."""

import json
from collections.abc import Iterator

import httpx
import pytest

from ato.autointerp.call_cache import MemoryCalls
from ato.autointerp.chat_client import ChatClient, ChatRequest
from ato.autointerp.judge_server import ChatModel, JudgeServer
from ato.autointerp.llm_judge import JudgeOptions, LanguageModelJudge
from ato.autointerp.questions import DetectionQuestion, FuzzingQuestion, IntruderQuestion
from ato.autointerp.schemas import verdicts_schema
from ato.errors import UnavailableError
from ato.models import LanguageModel, load_model
from tests.ato.autointerp.judge_questions import SPACES, classification, descriptions, intruder, trials
from tests.tiny_models import save_tiny_model

MESSAGES = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Text 1:\nword"}]
CONTEXT = 4096
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": verdicts_schema(2)}}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    """With a context that holds our prompts: its tokens are bytes."""
    folder = save_tiny_model(tmp_path_factory.mktemp("llama"), n_layers=2)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    return load_model(folder, dtype="float32")


@pytest.fixture(scope="module")
def server(model) -> Iterator[JudgeServer]:
    with JudgeServer(ChatModel(model), port=0) as running:
        yield running


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_small_random_model_answers_every_kind_of_question_in_the_schema(model, calibrate):
    questions = [*descriptions(2), *trials(0, 3), intruder(), classification()]
    store = MemoryCalls()
    with JudgeServer(ChatModel(model, calibrate=calibrate), port=0) as server, ChatClient(server.url) as client:
        answers = LanguageModelJudge(client, JudgeOptions("tiny"), store=store, spaces=SPACES).answer(questions)
    assert [answer.reason for answer in answers] == [None] * len(questions)
    assert {record.status for record in store.records()} == {"answered"}
    for question, answer in zip(questions, answers):
        if isinstance(question, DetectionQuestion | FuzzingQuestion):
            assert (answer.probability > 0.5) == answer.value
        elif isinstance(question, IntruderQuestion):
            assert 1 / 3 <= answer.probability <= 1


def test_a_reply_has_its_counts_and_the_log_probabilities_of_its_choices(server, model):
    with ChatClient(server.url) as client:
        request = ChatRequest("tiny", tuple(MESSAGES), verdicts_schema(2), max_tokens=30)
        reply = client.ask(request)
        assert client.ask(request).text == reply.text
    assert reply.mode == "json_schema"
    assert [type(answer) for answer in reply.value["answers"]] == [bool, bool]
    for i, answer in enumerate(reply.value["answers"]):
        assert (reply.probabilities[f"answers/{i}"] >= 0.5) == answer
    assert reply.used.prompt_tokens == len(model.tokenizer("Judge.\n\nText 1:\nword\n\n")["input_ids"])
    assert reply.used.completion_tokens >= 2


def test_tokens_make_up_the_reply_and_each_choice_names_all_there_were(server):
    body = {"messages": MESSAGES, "response_format": SCHEMA, "logprobs": True}
    (choice,) = httpx.post(f"{server.url}/chat/completions", json=body).json()["choices"]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    chosen = [token for token in tokens if token["top_logprobs"]]
    assert [{other["token"] for other in token["top_logprobs"]} for token in chosen] == [{"true", "false"}] * 2
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("form", [None, {"type": "text"}, {"type": "json_object"}])
def test_without_a_schema_text_is_generated_up_to_its_limit(server, form):
    body = {"messages": MESSAGES, "response_format": form, "max_tokens": 4}
    told = httpx.post(f"{server.url}/chat/completions", json=body).json()
    assert isinstance(told["choices"][0]["message"]["content"], str)
    assert told["usage"]["completion_tokens"] <= 4


def test_only_what_a_prompt_does_not_share_with_the_one_before_is_run(model):
    chat = ChatModel(model)
    chat.complete({"messages": MESSAGES, "response_format": SCHEMA})
    before, prompt = chat._text.n_run, "Judge.\n\nText 1:\nword\n\n"
    other = [MESSAGES[0], {"role": "user", "content": "Text 1:\nwork"}]
    chat.complete({"messages": other, "response_format": SCHEMA})
    assert chat._text.n_run - before < before - len(prompt) + 8


def test_a_chat_template_without_the_role_system_gets_its_text_with_the_users(model, monkeypatch):
    turns = (
        "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + turns
    for template, expected in ((turns, "[system: Judge.][user: Text]>"), (refusing, "[user: Judge.\n\nText]>")):
        monkeypatch.setattr(model.tokenizer, "chat_template", template)
        chat = ChatModel(model)
        told = chat.complete({"messages": [MESSAGES[0], {"role": "user", "content": "Text"}], "max_tokens": 1})
        assert told["usage"]["prompt_tokens"] == len(expected)


def test_the_models_name_is_listed(server):
    (listed,) = httpx.get(f"{server.url}/models").json()["data"]
    assert listed["id"]
    assert httpx.get(f"{server.url}/nothing").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}',
        b'{"messages": [{"role": "user", "content": "a"}], "response_format": []}',
        b'{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_schema", "json_schema": 1}}',
        json.dumps({"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}).encode(),
        json.dumps({"messages": [{"role": "user", "content": "long " * 1000}]}).encode(),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_is_refused_in_one_line(server, body):
    response = httpx.post(f"{server.url}/chat/completions", content=body)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]["message"]
    assert httpx.post(f"{server.url}/other", content=body).status_code == 404


def test_a_port_that_is_taken_is_one_line(server, model):
    with pytest.raises(UnavailableError, match="choose another port"):
        JudgeServer(ChatModel(model), port=int(server.url.split(":")[2].split("/")[0]))
