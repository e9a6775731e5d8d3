"""A browser and a server of the pages; what is missing is one line."""

import pytest

from ato.errors import InputError
from dashboards.screenshots.browser import served


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr("dashboards.screenshots.browser.sys.executable", "/bin/false")
    with (
        pytest.raises(InputError, match=r"server ended with 1: read .*dashboard\.log"),
        served(tmp_path / "dashboard.log"),
    ):
        pass
