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


def test_an_empty_warehouse_has_no_feature_to_show(empty, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pictures", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"no feature to show .*make run"):
        main()
