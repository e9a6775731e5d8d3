"""A causal language model of ours behind the protocol of OpenAI-compatible servers, on this machine alone.

``POST /v1/chat/completions`` and ``GET /v1/models``. A reply with a JSON schema is written by
``ato.autointerp.constrained``, so that the smallest model's fits it; without one it is generated greedily. The model
answers one request at a time, and runs only what a prompt does not share with the one before.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ato.autointerp.chat_client import without_system
from ato.autointerp.constrained import STRING_TOKENS, WrittenPart, check_schema, write_json
from ato.errors import AtoError, CorpusError, InputError, UnavailableError
from ato.models.chat import conversation_text
from ato.models.generation import end_ids
from ato.models.kept_text import KeptText
from ato.models.language_model import LanguageModel

HOST, PORT = "127.0.0.1", 8010
_LARGEST_REQUEST = 4 * 2**20
_MOST_TOKENS = 256
_NO_CONTENT = "N/A"


class ChatModel:
    """A language model that completes conversations.

    Args:
        model: that answers.
        calibrate: take from each choice what the model would say to a prompt without content, see ``write_json``.
    """

    def __init__(self, model: LanguageModel, *, calibrate: bool = False):
        self.model, self.name = model, model.identity.model
        self._text, self._empty = KeptText(model), KeptText(model) if calibrate else None
        self._lock = threading.Lock()

    def complete(self, request: Any) -> dict[str, Any]:
        """The answer to a request's body.

        Raises:
            InputError: the body is no request, or its schema cannot be filled.
            ModelError: the conversation is longer than the model's context.
        """
        messages, limit = _messages(request), _limit(request)
        schema = _schema(request)
        ids = self._ids(messages)
        with self._lock:
            self._text.begin(ids)
            parts, ended = self._written(messages, schema, limit) if schema is not None else self._generated(limit)
        text = "".join(part.text for part in parts)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop" if ended else "length",
        }
        if request.get("logprobs"):
            choice["logprobs"] = {"content": [_told(part) for part in parts if part.text]}
        n = sum(max(part.n_tokens, bool(part.text)) for part in parts)
        usage = {"prompt_tokens": len(ids), "completion_tokens": n, "total_tokens": len(ids) + n}
        about = {"id": "chatcmpl-local", "object": "chat.completion", "created": int(time.time()), "model": self.name}
        return about | {"choices": [choice], "usage": usage}

    def _written(
        self, messages: list[dict[str, str]], schema: dict[str, Any], limit: int
    ) -> tuple[list[WrittenPart], bool]:
        if self._empty is not None:
            self._empty.begin(self._ids([*messages[:-1], messages[-1] | {"content": _NO_CONTENT}]))
        string_tokens = min(limit, STRING_TOKENS)
        return write_json(self.model, self._text, schema, self._empty, string_tokens=string_tokens), True

    def _generated(self, limit: int) -> tuple[list[WrittenPart], bool]:
        """Greedy text, and whether it ended by itself."""
        ends, total = frozenset(end_ids(self.model)), 0.0
        ids: list[int] = []
        for _ in range(limit):
            following = self._text.next_log_probabilities()
            token = int(following.argmax())
            if token in ends:
                break
            ids.append(token)
            total += float(following[token])
            self._text.feed([token])
        text = self.model.tokenizer.decode(ids, skip_special_tokens=True).strip()
        return [WrittenPart(text, total, n_tokens=len(ids))], len(ids) < limit

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        """A conversation up to where the answer begins."""
        tokenizer = self.model.tokenizer
        if getattr(tokenizer, "chat_template", None):
            try:
                text = conversation_text(tokenizer, self.name, messages, answer_begun=True)
            except CorpusError:  # such as Gemma's template, which knows no system
                text = conversation_text(tokenizer, self.name, without_system(messages), answer_begun=True)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        text = "\n\n".join(message["content"] for message in messages) + "\n\n"
        return list(tokenizer(text)["input_ids"])  # with BOS where the tokenizer writes one


class JudgeServer:
    """Serves a model until it is closed; ``with`` starts it in a thread.

    Args:
        chat: that answers.
        host: address to listen at; reachable from this machine alone unless told otherwise.
        port: 0 for a free one.

    Raises:
        UnavailableError: the port is taken.
    """

    def __init__(self, chat: ChatModel, host: str = HOST, port: int = PORT):
        owner = self
        self._chat = chat

        class Handler(_Handler):
            chat = owner._chat

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            cure = "choose another port"
            raise UnavailableError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", cure=cure) from None
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Base address for clients."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def serve(self) -> None:
        """Serve until interrupted."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def __enter__(self) -> "JudgeServer":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300
    chat: ChatModel

    def do_GET(self) -> None:
        """The model's name."""
        if self.path.rstrip("/") == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": self.chat.name, "object": "model", "owned_by": "ato"}]})
        else:
            self._refuse(404, f"nothing at {self.path}")

    def do_POST(self) -> None:
        """A completion."""
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _LARGEST_REQUEST:
            self.close_connection = True
            self._refuse(413 if length.isdigit() else 411, "the length of the request is missing or too large")
            return
        data = self.rfile.read(int(length))
        if self.path.rstrip("/") != "/v1/chat/completions":
            self._refuse(404, f"nothing at {self.path}")
            return
        try:
            self._send(200, self.chat.complete(json.loads(data)))
        except AtoError as error:
            self._refuse(400, str(error))
        except (ValueError, RecursionError):
            self._refuse(400, "the request is not JSON")
        except Exception as error:
            self._refuse(500, f"the model failed: {type(error).__name__}")
            raise

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Be silent."""


def _messages(request: Any) -> list[dict[str, str]]:
    messages = request.get("messages") if isinstance(request, dict) else None
    sound = isinstance(messages, list) and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in messages
    )
    if not sound or not messages:
        raise InputError("the request has no messages of role and content", cure="send texts")
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _schema(request: dict[str, Any]) -> dict[str, Any] | None:
    """That the reply must fit; None of a request for any text."""
    form = request.get("response_format")
    if form is None or (isinstance(form, dict) and form.get("type") in ("text", "json_object")):
        return None
    told = form.get("json_schema") if isinstance(form, dict) else None
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(schema, dict):
        raise InputError("response_format has no JSON schema", cure="send {type: json_schema, json_schema: {schema}}")
    check_schema(schema)
    return schema


def _limit(request: dict[str, Any]) -> int:
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    if limit is None:
        return _MOST_TOKENS
    if not isinstance(limit, int) or limit < 1:
        raise InputError(f"max_tokens is {limit!r}", cure="use 1 or more")
    return min(limit, _MOST_TOKENS)


def _told(part: WrittenPart) -> dict[str, Any]:
    """As an entry of ``logprobs``: parts stand for tokens, of which they are made."""
    named = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in part.choices]
    token = {"token": part.text, "logprob": part.log_probability, "bytes": list(part.text.encode())}
    return token | {"top_logprobs": named}
