"""A local server that speaks the chat protocol of OpenAI-compatible servers, faults included.

It answers by rules that tests give, and counts what it is asked. ``faults`` come first, in order; what follows is sound.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.local_server import LocalServer, QuietHandler

MODEL = "writer"
Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One answer that is not sound."""

    status: int = 200
    content: str | None = None
    """Text of a completion."""
    body: bytes | None = None
    """Bytes of the answer, as they are."""
    retry_after: str | None = None
    seconds: float = 0.0
    """That it keeps waiting."""
    reset: bool = False
    """Close the connection without a word."""
    cut: bool = False
    """Close the connection in the middle of the answer."""
    finish: str = "stop"


def schema_of(body: Body) -> dict[str, Any]:
    """The schema that a request asks for, wherever it stands."""
    form = body.get("response_format", {})
    if form.get("type") == "json_schema":
        return form["json_schema"]["schema"]
    return json.loads(body["messages"][-1]["content"].rsplit("schema:\n", 1)[1])


def filled(schema: dict[str, Any]) -> Any:
    """A value that fits a schema of ours: yes, the first of each choice, a phrase."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: filled(of) for name, of in schema["properties"].items()}
    if schema["type"] == "array":
        return [filled(schema["items"])] * schema["minItems"]
    return {"boolean": True, "string": "fires on words"}[schema["type"]]


@dataclass
class JudgeServer(LocalServer):
    """Starts at ``with``; see the module."""

    answer: Callable[[Body], Any] = lambda body: filled(schema_of(body))
    """The value of a sound reply."""
    faults: list[Fault] = field(default_factory=list)
    refused_modes: frozenset[str] = frozenset()
    """Types of response_format that get 400."""
    refused_parameters: frozenset[str] = frozenset()
    refuses_system: bool = False
    ignores_schema: bool = False
    """Reply with prose unless the schema stands in the prompt."""
    key: str | None = None
    logprobs: Callable[[str], list[dict[str, Any]]] | None = None
    """Tokens of a reply's text."""
    usage: Callable[[Body], dict[str, int] | None] = lambda body: {"prompt_tokens": 100, "completion_tokens": 10}
    on_request: Callable[[int], object] = lambda n: None
    """Called with the number of each request, from 1, before it is answered."""
    requests: list[Body] = field(default_factory=list)
    answered: list[Body] = field(default_factory=list)
    """Those that got a completion."""

    def __enter__(self) -> "JudgeServer":
        owner = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                owner._serve(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

        self._lock, self._most, self._now = threading.Lock(), 0, 0
        self.start(Handler)
        return self

    @property
    def url(self) -> str:
        """Base address of the API."""
        return f"{super().url}/v1"

    @property
    def most_at_once(self) -> int:
        """Largest number of requests that were under way at once."""
        return self._most

    def modes(self) -> list[str]:
        """How each request asked for its form."""
        return [body.get("response_format", {}).get("type", "plain") for body in self.requests]

    def _serve(self, handler: BaseHTTPRequestHandler, body: Body) -> None:
        with self._lock:
            self.requests.append(body)
            number = len(self.requests)
            self._now += 1
            self._most = max(self._most, self._now)
            fault = self.faults.pop(0) if self.faults else None
        try:
            self.on_request(number)
            self._respond(handler, body, fault or self._sound(handler, body))
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
        finally:
            with self._lock:
                self._now -= 1

    def _respond(self, handler: BaseHTTPRequestHandler, body: Body, fault: Fault) -> None:
        time.sleep(fault.seconds)
        if fault.reset:
            handler.close_connection = True
            return
        data = fault.body
        if data is None:
            data = json.dumps(self._completion(body, fault) if fault.content is not None else {"error": {}}).encode()
        if fault.status == 200 and not fault.cut:
            with self._lock:
                self.answered.append(body)
        handler.send_response(fault.status)
        if fault.retry_after is not None:
            handler.send_header("Retry-After", fault.retry_after)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if fault.cut else data)
        handler.close_connection = handler.close_connection or fault.cut

    def _completion(self, body: Body, fault: Fault) -> dict[str, Any]:
        message = {"role": "assistant", "content": fault.content}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": fault.finish}
        if self.logprobs is not None and body.get("logprobs"):
            choice["logprobs"] = {"content": self.logprobs(fault.content or "")}
        usage = self.usage(body)
        return {"object": "chat.completion", "choices": [choice]} | ({} if usage is None else {"usage": usage})

    def _sound(self, handler: BaseHTTPRequestHandler, body: Body) -> Fault:
        if self.key is not None and handler.headers.get("authorization") != f"Bearer {self.key}":
            return Fault(401, body=b'{"error": {"message": "Incorrect API key"}}')
        if handler.path != "/v1/chat/completions" or body["model"] != MODEL:
            return Fault(404, body=b'{"error": {"message": "not found"}}')
        if wrong := sorted(self.refused_parameters & set(body)):
            return Fault(400, body=json.dumps({"error": {"message": f"Unsupported parameter: '{wrong[0]}'"}}).encode())
        if self.refuses_system and body["messages"][0]["role"] == "system":
            return Fault(400, body=b'{"error": {"message": "System role not supported"}}')
        mode = body.get("response_format", {}).get("type", "plain")
        if mode in self.refused_modes:
            return Fault(400, body=json.dumps({"error": {"message": f"response_format {mode} is unknown"}}).encode())
        if self.ignores_schema and mode == "json_schema" and "schema:\n" not in body["messages"][-1]["content"]:
            return Fault(content="I think that it fires on words.")
        return Fault(content=json.dumps(self.answer(body)))
