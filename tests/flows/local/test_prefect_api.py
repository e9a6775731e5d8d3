"""Requests to Prefect's API: with the key and a token against forged requests, renewed when it is refused."""

import base64
import json

import httpx
import pytest

from flows.local import prefect_api
from flows.local.prefect_api import post

API = "http://a/api"


class Server:
    """A Prefect server that hands out tokens; ``valid`` is the one that it accepts, None without protection."""

    def __init__(self, valid: str | None):
        self.valid, self.asked, self.busy = valid, [], 0

    def get(self, url, params=None, auth=None, timeout=None):
        return self._answer("GET", url, auth, {})

    def post(self, url, json, headers, auth, timeout):
        return self._answer("POST", url, auth, headers, json)

    def _answer(self, method, url, auth, headers, body=None):
        request = httpx.Request(method, url, headers=headers)
        request = next(auth.auth_flow(request)) if auth else request
        self.asked.append((method, url, request.headers.get("authorization")))
        if "csrf-token" in url:
            return httpx.Response(422 if self.valid is None else 200, json={"token": self.valid}, request=request)
        if self.busy:
            self.busy -= 1
            return httpx.Response(503, request=request)
        if method == "POST" and self.valid and headers.get("Prefect-Csrf-Token") != self.valid:
            return httpx.Response(403, request=request)
        return httpx.Response(200, content=json.dumps(body).encode(), request=request)


@pytest.fixture
def server(monkeypatch):
    def make(valid):
        found = Server(valid)
        monkeypatch.setattr(prefect_api.httpx, "get", found.get)
        monkeypatch.setattr(prefect_api.httpx, "post", found.post)
        monkeypatch.setattr(prefect_api.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(prefect_api, "_tokens", {})
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ato:key:with:colons")
        return found

    return make


def test_a_token_is_asked_for_once_and_again_after_the_server_has_restarted(server):
    there = server("first")
    assert post(API, "flows/filter", {"a": 1}) == {"a": 1}
    assert post(API, "flows/filter", {"a": 2}) == {"a": 2}
    there.valid = "second"
    there.busy = 2
    assert post(API, "flows/filter", {"a": 3}) == {"a": 3}
    assert sum("csrf-token" in url for _, url, _ in there.asked) == 2
    key = "Basic " + base64.b64encode(b"ato:key:with:colons").decode()
    assert {given for _, _, given in there.asked} == {key}


def test_a_server_without_this_protection_is_asked_without_a_token_and_a_refusal_is_an_error(server, monkeypatch):
    there = server(None)
    assert post(API, "flows/filter", {}) == {}
    monkeypatch.delenv("PREFECT_API_AUTH_STRING")
    assert post(API, "flows/filter", {}) == {}
    assert there.asked[-1][2] is None
    there.busy = 99
    with pytest.raises(httpx.HTTPStatusError):
        post(API, "flows/filter", {})
