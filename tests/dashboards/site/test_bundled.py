"""The libraries that a site brings along are those that are listed, with versions that the lock file names."""

import json
import shutil

import pytest

from ato.errors import DataError
from dashboards.site import bundled

FOLDER = bundled._folder()


def test_the_bundle_has_the_versions_of_the_lock_file():
    locked = json.loads(FOLDER.joinpath("package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert bundled.versions() == {name: locked[f"node_modules/{name}"]["version"] for name in bundled.versions()}
    assert not any("resolved" in package for package in locked.values()), "the lock names no registry"


def test_a_damaged_library_is_named_and_not_published(tmp_path, monkeypatch):
    copy = tmp_path / "libraries"
    copy.mkdir()
    for name in ("libraries.json", "licences.txt.xz", "libraries.js.xz"):
        shutil.copy(FOLDER / name, copy)
    shutil.copy(FOLDER / "licences.txt.xz", copy / "libraries.js.xz")
    monkeypatch.setattr(bundled, "_folder", lambda: copy)
    with pytest.raises(DataError, match=r"libraries\.js\.xz is damaged"):
        bundled.write_libraries(tmp_path)
