"""Responses on disk: found by their request, whole or not at all."""

import os
import time

import pytest

from ato.errors import DiskFullError, UnavailableError
from ato.io.response_cache import ResponseCache


def test_a_response_is_found_by_its_request_and_by_no_other(tmp_path):
    cache = ResponseCache(tmp_path)
    assert cache.get("GET /a") is None
    cache.put("GET /a", b"first")
    cache.put("GET /a", b"body\n")
    assert ResponseCache(tmp_path).get("GET /a") == b"body\n"
    assert cache.get("GET /b") is None


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: b"0" + d[1:], lambda d: d + b" "])
def test_a_damaged_file_counts_as_absent(tmp_path, damage):
    cache = ResponseCache(tmp_path)
    cache.put("GET /a", b"body")
    file = cache.path("GET /a")
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get("GET /a") is None


def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ato.io.response_cache.os.replace", full)
    with pytest.raises(DiskFullError, match="no space left"):
        ResponseCache(tmp_path).put("request", b"body")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="cannot cache a response"):
        ResponseCache(tmp_path / "file").put("request", b"body")


def test_old_responses_are_removed_and_new_ones_stay(tmp_path):
    cache = ResponseCache(tmp_path)
    for request, age in (("GET /old", 100), ("GET /new", 10)):
        cache.put(request, b"body")
        os.utime(cache.path(request), (time.time() - age,) * 2)
    cache.remove_older(50)
    assert cache.get("GET /old") is None
    assert cache.get("GET /new") == b"body"
