"""The README's pictures: what is missing is said on one line."""

import sys

import pytest

from dashboards.screenshots.pictures import main


def test_without_chromium_the_cure_is_named_on_one_line(study, tmp_path, monkeypatch):
    monkeypatch.setattr("dashboards.screenshots.pictures.FEATURE", "select 'c', 'sae', 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pictures", str(tmp_path)])
    with pytest.raises(SystemExit) as raised:
        main()
    assert "no Chromium" in str(raised.value)
    assert "apt-get install" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_a_warehouse_the_command_that_makes_one_is_named(empty, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pictures", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"there is no warehouse .*ato run pipeline"):
        main()
