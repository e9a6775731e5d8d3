"""The services of ``ato up``: their ports and their environment."""

import socket
from contextlib import closing

import pytest

from ato.errors import InputError
from flows.local import services
from flows.local.services import choose_port, shared_environment


def test_a_taken_default_port_gives_the_next_free_one_and_a_taken_one_that_was_asked_for_an_error():
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        port = stranger.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(services.PORTS, "prefect", port)
            assert choose_port("prefect", None, set()) > port
            assert choose_port("prefect", None, {port + 1}) > port + 1
        with pytest.raises(InputError, match=f"port {port} is taken"):
            choose_port("prefect", port, set())


def test_children_are_told_the_server_the_data_and_no_telemetry(data, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", "relative/warehouse")
    monkeypatch.chdir(data)
    found = shared_environment("http://a/api", "http://b", "token", "ato:key")
    assert found["ATO_WAREHOUSE"] == str(data / "relative" / "warehouse")
    assert found["PREFECT_API_URL"] == "http://a/api"
    assert found["PREFECT_API_AUTH_STRING"] == "ato:key"
    assert found["ATO_PREFECT_UI"] == "http://a/enter#ato:key"
    assert found["DO_NOT_TRACK"] == "1"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
