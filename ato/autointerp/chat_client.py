"""Client of OpenAI-compatible servers whose replies must fit a JSON schema.

Servers differ in what they take. The form of the requests is found once a server, and kept for the next request:

1. ``response_format`` of type ``json_schema``; where it is refused, ``json_object``; then none. In the latter two the
   schema stands in the prompt.
2. A parameter that a refusal names (``logprobs``, ``seed``, ``temperature``, ``max_tokens``) is left out, and the role
   ``system`` joined to the user's.
3. A server may take a form and ignore it: where no reply has been sound yet, the next request tries the next form.
"""

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ato.autointerp.budget import Usage
from ato.autointerp.replies import RejectedReply, ReplyToken, choice_probabilities, read_reply
from ato.errors import RefusedError
from ato.io.http_client import Cures, HttpClient

MODES = ("json_schema", "json_object", "plain")
TIMEOUT = 120.0
"""Seconds: long replies are slow."""
_LARGEST_REPLY = 4 * 2**20
_N_LIKELIEST = 5
_OPTIONAL = ("logprobs", "seed", "temperature", "max_tokens", "system")
_FORM_REFUSED = (400, 422)
Message = Mapping[str, str]


@dataclass(frozen=True)
class ChatRequest:
    """What is asked: its key tells it from all others."""

    model: str
    messages: tuple[Message, ...]
    """Each with role and content."""
    schema: dict[str, Any]
    """JSON schema of the reply, an object."""
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 256
    """Of the reply."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of this."""
        told = json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def most_prompt_tokens(self) -> int:
        """An upper bound: a token has at least a byte, and servers frame messages with a few of their own."""
        texts = [message["content"] for message in self.messages]
        return 64 + sum(16 + len(text.encode()) for text in texts) + len(schema_text(self.schema).encode())


@dataclass(frozen=True)
class ChatReply:
    """What came back."""

    text: str
    value: Any
    """What the text holds, if it fits the schema; else None."""
    reason: str | None
    """Why it does not."""
    mode: str
    probabilities: dict[str, float]
    """See ``choice_probabilities``."""
    used: Usage | None
    """As the server counts; None where it does not."""


@dataclass(frozen=True)
class _Dialect:
    """The form of requests that a server takes."""

    mode: int = 0
    left_out: frozenset[str] = frozenset()

    def after(self, said: str) -> "_Dialect | None":
        """What to try after a refusal with these words; None when all was tried."""
        if named := [name for name in _OPTIONAL if name in said.lower() and name not in self.left_out]:
            return _Dialect(self.mode, self.left_out | {named[0]})
        return self.next_mode()

    def next_mode(self) -> "_Dialect | None":
        return dataclasses.replace(self, mode=self.mode + 1) if self.mode + 1 < len(MODES) else None


class ChatClient:
    """Asks one model of one server; safe for several threads.

    Args:
        base_url: up to and with the version, ``https://server/v1``.
        key_variable: name of the environment variable with the API key; None for servers without one.
        options: ``timeout``, ``max_attempts``, ``sleep`` and ``jitter`` of the requests, see ``HttpClient``.

    Raises:
        SettingsError: the address or the key cannot be used.
    """

    def __init__(self, base_url: str, *, key_variable: str | None = None, **options: Any):
        cures = Cures(
            key=f"set {key_variable} to a valid key" if key_variable else "name the variable that holds the API key",
            address="check the judge's address, up to and with /v1, and the name of the model",
            busy="run again later: what is answered is kept",
            network="start the judge's server, or check its address",
        )
        key = os.environ.get(key_variable) if key_variable else None
        options = {"timeout": TIMEOUT, "largest": _LARGEST_REPLY} | options
        self._http = HttpClient(base_url, key=key, bearer=True, cures=cures, **options)
        self._dialect, self._proven, self._lock = _Dialect(), False, threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: ChatRequest, on_attempt: Callable[[], object] = lambda: None) -> ChatReply:
        """One reply, sound or not.

        Args:
            request: what to ask.
            on_attempt: called before each request to the server.

        Raises:
            UnreachableError: nobody answers at the address.
            RefusedError: the key, the model or the request is refused.
            UnavailableError: no answer after all attempts.
            DamagedFileError: every answer was damaged.
        """
        dialect: _Dialect = self._dialect
        while True:
            body = _body(request, dialect)
            try:
                data = self._http.fetch("/chat/completions", json=body, check=_check, absent=(), on_attempt=on_attempt)
                break
            except RefusedError as error:
                following = dialect.after(error.said) if error.status in _FORM_REFUSED and not self._proven else None
                if following is None:
                    raise
                dialect = following
        reply = _reply(json.loads(data or b"{}"), request, MODES[dialect.mode])
        self._learn(dialect, reply.reason is None)
        return reply

    def _learn(self, dialect: _Dialect, sound: bool) -> None:
        with self._lock:
            if sound and not self._proven:
                self._dialect, self._proven = dialect, True
            elif not self._proven:
                self._dialect = dialect.next_mode() or dialect


def schema_text(schema: dict[str, Any]) -> str:
    """How a prompt says what to reply."""
    return f"Reply with one JSON object and nothing else. It must fit this JSON schema:\n{json.dumps(schema)}"


def without_system(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages with those of the system joined to the one behind, for models that know no such role."""
    found: list[dict[str, str]] = []
    before = ""
    for message in messages:
        if message["role"] == "system":
            before += message["content"] + "\n\n"
        else:
            found.append({"role": message["role"], "content": before + message["content"]})
            before = ""
    return [*found, {"role": "user", "content": before.strip()}] if before else found


def _body(request: ChatRequest, dialect: _Dialect) -> dict[str, Any]:
    mode, messages = MODES[dialect.mode], [dict(message) for message in request.messages]
    if "system" in dialect.left_out:
        messages = without_system(messages)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    if mode == "json_schema":
        form = {"name": "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    else:
        messages[-1]["content"] += "\n\n" + schema_text(request.schema)
    if mode == "json_object":
        body["response_format"] = {"type": "json_object"}
    optional: dict[str, dict[str, Any]] = {
        "logprobs": {"logprobs": True, "top_logprobs": _N_LIKELIEST},
        "seed": {"seed": request.seed},
        "temperature": {"temperature": request.temperature},
        "max_tokens": {"max_tokens": request.max_tokens},
    }
    for name, parameters in optional.items():
        body |= {} if name in dialect.left_out else parameters
    if "max_tokens" in dialect.left_out:  # its newer name: a limit must stand, the budget counts on it
        body["max_completion_tokens"] = request.max_tokens
    return body


def _check(data: bytes) -> None:
    """Raise ValueError unless this is a chat completion."""
    try:
        content = json.loads(data)["choices"][0]["message"].get("content")
    except (LookupError, TypeError, AttributeError):
        raise ValueError("not a chat completion") from None
    if not isinstance(content, str | None):
        raise ValueError("not a chat completion: its content is no text")


def _reply(told: dict[str, Any], request: ChatRequest, mode: str) -> ChatReply:
    choice = told["choices"][0]
    text = choice["message"].get("content") or ""
    value, reason, probabilities = None, None, {}
    try:
        value, body = read_reply(text, request.schema)
        probabilities = choice_probabilities(text, body, _tokens(choice), request.schema)
    except RejectedReply as error:
        cut = "; it was cut off at its limit of tokens" if choice.get("finish_reason") == "length" else ""
        reason = f"{error}{cut}"
    return ChatReply(text, value, reason, mode, probabilities, _used(told.get("usage")))


def _used(told: Any) -> Usage | None:
    """Of a completion's ``usage``."""
    told = told if isinstance(told, dict) else {}
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int) and min(prompt, completion) >= 0:
        return Usage(1, prompt, completion)
    return None


def _tokens(choice: dict[str, Any]) -> list[ReplyToken]:
    """Of a completion's ``logprobs``; none where they are missing or of another form."""
    try:
        found = (choice.get("logprobs") or {}).get("content") or []
        return [
            ReplyToken(
                bytes(token["bytes"]) if token.get("bytes") else str(token["token"]).encode(),
                float(token["logprob"]),
                tuple((str(other["token"]), float(other["logprob"])) for other in token.get("top_logprobs") or ()),
            )
            for token in found
        ]
    except (LookupError, TypeError, ValueError, AttributeError):
        return []
