"""``python -m dashboards``: hands its options to streamlit."""

import sys

import pytest

from dashboards import __main__ as entry


@pytest.fixture
def started(monkeypatch):
    """The arguments that streamlit was started with; nothing is served or imported ahead."""
    monkeypatch.setattr(entry.Thread, "start", lambda thread: None)
    monkeypatch.setattr("streamlit.web.cli.main", lambda: None)
    monkeypatch.setattr(sys, "argv", ["dashboards", "--server.port", "8600"])
    entry.main()
    return sys.argv


def test_options_are_those_of_streamlit_run(started):
    program, verb, app, *options = started
    assert (program, verb, options) == ("streamlit", "run", ["--server.port", "8600"])
    assert app.endswith("served.py")
