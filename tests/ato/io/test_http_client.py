"""Requests against a local server with every fault that a server can have."""

import json
import socket
from collections.abc import Iterator

import pytest

from ato.errors import AtoError, DamagedFileError, SettingsError, UnavailableError
from ato.io.http_client import Cures, HttpClient
from tests.neuronpedia_server import TOO_MANY, Fault, NeuronpediaServer

PATH, BODY = "/file.json", b'{"a": 1}'
CURES = Cures(key="set A_KEY", address="check a.url", busy="come back")


@pytest.fixture
def server() -> Iterator[NeuronpediaServer]:
    with NeuronpediaServer() as running:
        running.files[PATH.removeprefix("/")] = BODY
        yield running


class Client(HttpClient):
    """A client whose pauses are recorded instead of slept."""

    def __init__(self, url: str, **options):
        self.pauses: list[float] = []
        options = {"max_attempts": 4, "jitter": lambda: 1.0, "sleep": self.pauses.append, "cures": CURES} | options
        super().__init__(url, **options)

    def get(self, path: str = PATH) -> bytes | None:
        """A body that must be JSON."""
        return self.fetch(path, check=json.loads)


@pytest.fixture
def client(server) -> Iterator[Client]:
    opened = Client(server.url)
    yield opened
    opened.close()


def test_a_body_is_handed_over_as_it_came_and_what_is_not_there_is_none(client):
    assert client.get() == BODY
    assert client.get("/nowhere") is None


def test_rate_limits_without_retry_after_back_off_exponentially_with_full_jitter(server):
    server.faults[PATH] = [TOO_MANY] * 3
    draws = iter([1.0, 0.5, 0.25])
    client = Client(server.url, jitter=lambda: next(draws))
    assert client.get() == BODY
    assert client.pauses == [1.0, 0.5 * 2, 0.25 * 4]
    assert len(server.requests) == 4


def test_a_pause_never_exceeds_a_minute(server):
    server.faults[PATH] = [TOO_MANY] * 9
    client = Client(server.url, max_attempts=10)
    client.get()
    assert client.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_retry_after_is_honoured_as_seconds_and_as_a_date(server, client):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.faults[PATH] = [Fault(429, retry_after="7"), Fault(503, retry_after=date), Fault(429, retry_after="soon")]
    assert client.get()
    assert client.pauses == [7, 0, 4]


def test_a_server_that_asks_for_an_hour_is_given_up_at_once(server, client):
    server.faults[PATH] = [Fault(429, retry_after="3600")]
    with pytest.raises(UnavailableError, match=r"asks to wait 3600 seconds .*: come back"):
        client.get()
    assert client.pauses == []


@pytest.mark.parametrize("fault", [Fault(500), Fault(502), Fault(503), Fault(504), Fault(reset=True), Fault(200, b"{")])
def test_a_passing_fault_is_tried_again(server, client, fault):
    server.faults[PATH] = [fault]
    assert client.get() == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault(500), UnavailableError, "answered 500 after 4 attempts"),
        (Fault(reset=True), UnavailableError, "the connection broke"),
        (TOO_MANY, UnavailableError, "answered 429"),
        (Fault(200, b'{"cut": '), DamagedFileError, "damaged in 4 attempts"),
        (Fault(599), AtoError, "request refused with status 599"),
    ],
)
def test_a_fault_that_stays_is_one_line_after_the_last_attempt(server, client, fault, error, says):
    server.faults[PATH] = [fault] * 9
    with pytest.raises(error, match=says) as caught:
        client.get()
    assert len(server.requests) == (4 if fault.status != 599 else 1)
    assert "\n" not in str(caught.value)
    assert PATH in str(caught.value)


@pytest.mark.parametrize(
    ("status", "cure"), [(400, "check a.url"), (301, "check a.url"), (401, "set A_KEY"), (403, "set A_KEY")]
)
def test_a_refusal_is_not_tried_again_and_redirects_are_not_followed(server, client, status, cure):
    server.faults[PATH] = [Fault(status)]
    with pytest.raises(UnavailableError, match=f"request refused with status {status} .*: {cure}"):
        client.get()
    assert len(server.requests) == 1


def test_an_unreachable_server_is_one_line_after_one_more_try():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        client = Client(url, max_attempts=9)
        with pytest.raises(UnavailableError, match="cannot be reached") as caught:
            client.get()
        assert len(client.pauses) == 1
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_a_proxy_that_cannot_be_used_is_one_line(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy")
    monkeypatch.setenv("http_proxy", "gopher://proxy")
    with pytest.raises(UnavailableError, match="proxy variables"):
        Client(server.url).get()


@pytest.mark.parametrize("url", ["", "www.server.org", "ftp://x", "https://user:word@host", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SettingsError, match="invalid address"):
        HttpClient(url)


def test_a_key_that_no_header_can_hold_is_refused_without_being_quoted(server):
    with pytest.raises(SettingsError, match="invalid characters: set A_KEY") as caught:
        Client(server.url, key="secret\nx: y")
    assert "secret" not in str(caught.value)


def test_a_client_without_an_attempt_is_refused(server):
    with pytest.raises(SettingsError, match="at least one request"):
        Client(server.url, max_attempts=0).get()
