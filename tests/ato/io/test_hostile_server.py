"""Servers that mean harm, or are broken in ways that look like it: each is one line soon, and costs little memory."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from ato.errors import AtoError, DamagedFileError, UnavailableError
from ato.io.http_client import HttpClient

LARGEST = 2**20


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server whose answers a function writes; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def respond(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, value in ({"content-length": str(len(body)), "content_type": "application/json"} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def fetched(url: str, **options) -> bytes | None:
    options = {"max_attempts": 2, "largest": LARGEST, "timeout": 5.0, "sleep": lambda seconds: None} | options
    client = HttpClient(url, **options)
    try:
        return client.fetch("/file.json", check=json.loads)
    finally:
        client.close()


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused():
    bomb = gzip.compress(b"0" * 64 * LARGEST)
    assert len(bomb) < LARGEST
    with (
        serving(lambda handler: respond(handler, bomb, content_encoding="gzip")) as url,
        pytest.raises(UnavailableError, match="more than 1 MiB"),
    ):
        fetched(url)


def test_a_body_without_end_is_refused():
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"0" * 65536)

    with serving(endless) as url, pytest.raises(UnavailableError, match="more than 1 MiB"):
        fetched(url)


def test_a_body_that_drips_is_given_up_though_each_byte_is_in_time():
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)

    with serving(drip) as url, pytest.raises(UnavailableError, match="too slowly"):
        fetched(url, timeout=0.5, max_attempts=1)


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "/other"])
def test_no_redirect_is_followed_wherever_it_leads(target):
    asked = []

    def redirect(handler):
        asked.append(handler.path)
        respond(handler, b"", 307 if len(asked) % 2 else 302, location=target)

    with serving(redirect) as url:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="refused with status 30"):
                fetched(url)
    assert set(asked) == {"/file.json"}


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (b"<html><script>alert(1)</script></html>", {"content_type": "text/html"}, DamagedFileError),
        (b"[" * 100_000 + b"]" * 100_000, {}, DamagedFileError),
        (b"1" * 100_000, {}, DamagedFileError),
        (b"\xff\xfe", {}, DamagedFileError),
        (b"not gzip", {"content_encoding": "gzip"}, AtoError),
        (b"{}", {"content_encoding": "br"}, UnavailableError),
        (b"{}", {"content_encoding": "zstd"}, UnavailableError),
    ],
    ids=["html", "deep", "digits", "bytes", "not gzip", "br", "zstd"],
)
def test_what_is_not_the_expected_json_is_one_line(body, headers, error):
    with serving(lambda handler: respond(handler, body, **headers)) as url, pytest.raises(error) as raised:
        fetched(url)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
