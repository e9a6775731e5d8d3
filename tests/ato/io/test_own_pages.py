"""Which requests a server on this machine answers: those of its own pages and of programs."""

import asyncio

import pytest

from ato.io.own_pages import OwnPagesOnly

HOST = {"host": "127.0.0.1:4200"}
OPENED = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def application(scope, receive, send):
    """Answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"secret"})


def asked(headers: dict, *, method: str = "GET", kind: str = "http", twice: tuple = ()) -> list[dict]:
    """The messages that answer a request."""
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    encoded = [(name.encode(), value.encode()) for name, value in [*headers.items(), *twice]]
    scope = {"type": kind, "method": method, "path": "/", "headers": encoded}
    asyncio.run(OwnPagesOnly(application, names=["lab.example.org"])(scope, None, send))
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        HOST,
        {"host": "localhost:4200"},
        {"host": "LOCALHOST:4200"},
        {"host": "[::1]:4200"},
        {"host": "192.168.1.7"},
        {"host": "lab.example.org"},
        {"host": "lab.example.org", "origin": "https://lab.example.org"},
        HOST | {"origin": "http://127.0.0.1:4200", "sec-fetch-site": "same-origin"},
        HOST | {"sec-fetch-site": "none"},
        HOST | OPENED | {"sec-fetch-site": "same-site"},
        HOST | OPENED | {"sec-fetch-site": "cross-site"},
    ],
)
def test_own_pages_programs_and_links_are_answered(headers):
    start, body = asked(headers)
    assert (start["status"], body["body"]) == (200, b"secret")
    assert dict(start["headers"])[b"x-frame-options"] == b"SAMEORIGIN"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "evil.example:4200"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example:4200"},
        {"host": "user@127.0.0.1:4200"},
        {"host": "127.0.0.1:4200/x"},
        {"host": "127.0.0.1:port"},
        {"host": "evil.example", "origin": "http://evil.example"},
        HOST | {"origin": "null"},
        HOST | {"origin": ""},
        HOST | {"origin": "http://evil.example"},
        HOST | {"origin": "http://127.0.0.1:9999"},
        HOST | {"origin": "http://localhost:4200"},
        HOST | {"origin": "file://127.0.0.1:4200"},
        HOST | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
        HOST | {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        HOST | OPENED | {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"},
    ],
)
def test_what_another_page_or_another_name_asks_is_refused_in_one_line(headers):
    start, body = asked(headers)
    assert start["status"] == 403
    assert body["body"].startswith(b"refused: ")
    assert body["body"].count(b"\n") == 1
    (closed,) = asked(headers, kind="websocket")
    assert closed["type"] == "websocket.close"


def test_a_form_of_another_page_and_a_second_host_are_refused():
    assert asked(HOST | OPENED | {"sec-fetch-site": "cross-site"}, method="POST")[0]["status"] == 403
    assert asked(HOST, twice=(("host", "evil.example"),))[0]["status"] == 403
