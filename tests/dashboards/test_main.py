"""``python -m dashboards``: hands its options to streamlit."""

import socket
import sys
from threading import Event

import pytest

from dashboards import __main__ as entry


@pytest.fixture
def done(monkeypatch):
    """What is done, in order; nothing is served or imported ahead."""
    order = []
    for name in ("_open", "_import"):
        monkeypatch.setattr(entry, name, lambda name=name: order.append(name))
    monkeypatch.setattr("streamlit.web.cli.main", lambda: order.append("served"))
    monkeypatch.setattr(sys, "argv", ["dashboards", "--server.runOnSave", "false"])
    return order


@pytest.fixture
def started(done):
    """The arguments that streamlit was started with."""
    entry.main()
    return sys.argv


def test_options_are_those_of_streamlit_run(started):
    program, verb, app, *options = started
    assert (program, verb, options) == ("streamlit", "run", ["--server.runOnSave", "false"])
    assert app.endswith("served.py")


def test_the_server_answers_when_the_warehouse_is_open_and_the_pages_are_imported(done, started):
    assert sorted(done[:-1]) == ["_import", "_open"]
    assert done[-1] == "served"


def test_a_store_that_does_not_answer_does_not_keep_the_server_from_starting(done, monkeypatch):
    held = Event()
    monkeypatch.setattr(entry, "_open", held.wait)
    monkeypatch.setattr(entry, "PATIENCE", 0.1)
    entry.main()
    held.set()
    assert done == ["_import", "served"]


@pytest.mark.parametrize("named", ["--server.port {}", "--server.port={}", "STREAMLIT_SERVER_PORT={}"])
def test_a_port_in_use_is_one_line_that_names_a_free_one_before_anything_is_imported(done, monkeypatch, named):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        name, _, value = named.format(port).partition("=")
        if name.startswith("--"):
            monkeypatch.setattr(sys, "argv", ["dashboards", *named.format(port).split()])
        else:
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            entry.main()
        free = int(str(ended.value).rpartition(" ")[2].strip("`"))
        assert str(ended.value) == (
            f"error: port {port} is in use (--server.port): stop what serves there, or `--server.port {free}`"
        )
        socket.create_server(("", free)).close()
    assert done == []
