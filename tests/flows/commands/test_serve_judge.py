"""``ato serve-judge``: the model of the settings answers on this machine, in the form of the schema."""

import httpx

from ato.autointerp.judge_server import JudgeServer
from flows.commands.serve_judge import serve_judge
from tests.flows.tiny_study import tiny_settings


def test_the_model_of_the_settings_is_served_and_the_line_says_how_to_ask_it(tmp_path, monkeypatch, capsys):
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    request = {
        "messages": [{"role": "user", "content": "Is it so?"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
    }
    replies = []

    def ask(server: JudgeServer) -> None:
        with server:
            answer = httpx.post(f"{server.url}/chat/completions", json=request, timeout=60).raise_for_status()
            replies.append(answer.json()["choices"][0]["message"]["content"])

    monkeypatch.setattr(JudgeServer, "serve", ask)
    serve_judge(tiny_settings(tmp_path), "127.0.0.1", 0)
    assert replies in (['{"yes": true}'], ['{"yes": false}'])
    said = capsys.readouterr().err
    assert "--set label.judge=chat --set label.chat.base_url=http://127.0.0.1:" in said
