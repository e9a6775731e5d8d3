"""Requests to Prefect's API without importing Prefect: with the authentication string and the token against forged requests."""

import os
import time
from typing import Any
from uuid import uuid4

import httpx

AUTH = "PREFECT_API_AUTH_STRING"
"""Variable that Prefect's clients read, and that ``ato up`` hands to its own processes."""
ENTRY = "/enter"
"""Path of the page of ``ato up``'s Prefect server that hands the browser the authentication string."""
_CLIENT = str(uuid4())
"""This process, to the server's protection against forged requests."""
_tokens: dict[str, str] = {}
"""API -> token; it lasts an hour, so a refused one is asked for again."""


def entry(address: str, auth: str) -> str:
    """Link to Prefect's pages that hands the browser the authentication string; a path may follow it."""
    return f"{address}{ENTRY}#{auth}"


def auth_of_environment() -> httpx.BasicAuth | None:
    """What ``PREFECT_API_AUTH_STRING`` holds, as ``user:password``; None if it is not set."""
    text = os.environ.get(AUTH, "")
    return httpx.BasicAuth(*text.partition(":")[::2]) if text else None


def post(api: str, path: str, body: Any) -> Any:
    """POST, and return the answer's JSON; a server answers 503 while its SQLite database is busy, so try again.

    Raises:
        httpx.HTTPError: no answer, or a refusal.
    """
    for pause in (0.5, 1, 2, 4, 8, 0):
        answer = _send(api, path, body)
        if answer.status_code == httpx.codes.FORBIDDEN:
            _tokens.pop(api, None)  # of an earlier server, or too old
            answer = _send(api, path, body)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(pause)
    return answer.raise_for_status().json()


def _send(api: str, path: str, body: Any) -> httpx.Response:
    auth = auth_of_environment()
    if api not in _tokens:
        found = httpx.get(f"{api}/csrf-token", params={"client": _CLIENT}, auth=auth, timeout=60)
        if found.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return found
        # A server without this protection answers 422: it asks for no token.
        _tokens[api] = found.json()["token"] if found.is_success else ""
    headers = {"Prefect-Csrf-Token": _tokens[api], "Prefect-Csrf-Client": _CLIENT} if _tokens[api] else {}
    return httpx.post(f"{api}/{path}", json=body, headers=headers, auth=auth, timeout=60)
