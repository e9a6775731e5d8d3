"""Records of calls are found again, whoever was killed while writing them."""

import dataclasses
import errno
import os
import threading

import pytest

from ato.autointerp.call_cache import CallRecord, FolderCalls, MemoryCalls
from ato.errors import DiskFullError, UnavailableError


def record(call: str, **changes) -> CallRecord:
    whole = CallRecord(
        call=call,
        judge="judge",
        model="writer",
        purpose="detection",
        status="answered",
        mode="plain",
        n_attempts=1,
        prompt_tokens=10,
        completion_tokens=2,
        cost=0.5,
        seconds=0.1,
        reply='{"answers": [true]} \u2028 ü\n',
        reason=None,
        made_at="2026-01-01T00:00:00+00:00",
        probabilities={"answers/0": 0.25},
    )
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize("make", [lambda path: MemoryCalls(), FolderCalls])
def test_the_latest_record_of_a_call_is_found(make, tmp_path):
    store = make(tmp_path)
    assert store.get("a") is None
    assert list(store.records()) == []
    failed = record("a", status="failed", reply=None, prompt_tokens=None)
    for one in (failed, record("b"), record("a", made_at="2026-01-02T00:00:00+00:00")):
        store.put(one)
    assert store.get("a").status == "answered"
    assert {one.call: one.status for one in store.records()} == {"a": "answered", "b": "answered"}


def test_another_process_finds_what_is_in_the_folder(tmp_path):
    first = FolderCalls(tmp_path / "calls")
    first.put(record("a"))
    again = FolderCalls(tmp_path / "calls")
    assert again.get("a") == record("a")
    again.put(record("b"))
    assert {one.call for one in FolderCalls(tmp_path / "calls").records()} == {"a", "b"}
    assert len(list((tmp_path / "calls").iterdir())) == 2


@pytest.mark.parametrize("kept", [0, 1, 40, -2, -1])
def test_a_torn_last_line_is_passed_over_and_nothing_is_written_behind_it(tmp_path, kept):
    store = FolderCalls(tmp_path)
    store.put(record("a"))
    (path,) = tmp_path.iterdir()
    whole = path.stat().st_size
    store.put(record("b"))
    store.close()
    line = path.read_bytes()[whole:]
    with path.open("r+b") as file:
        file.truncate(whole + len(line[: kept if kept >= 0 else len(line) + kept]))
    again = FolderCalls(tmp_path)
    assert [one.call for one in again.records()] == ["a"]
    again.put(record("b"))
    assert {one.call for one in FolderCalls(tmp_path).records()} == {"a", "b"}


def test_lines_of_other_versions_do_not_stop_the_others(tmp_path):
    store = FolderCalls(tmp_path)
    store.put(record("a"))
    (path,) = tmp_path.iterdir()
    line = path.read_bytes()
    path.write_bytes(b'{"call": "x"}\n[1]\nnull\n\xff\n' + line.replace(b'{"call"', b'{"newer": 1, "call"'))
    assert list(FolderCalls(tmp_path).records()) == [record("a")]


def test_threads_write_whole_lines(tmp_path):
    store = FolderCalls(tmp_path)
    threads = [
        threading.Thread(target=lambda k=k: [store.put(record(f"{k}-{i}", reply="x" * 5000)) for i in range(20)])
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(FolderCalls(tmp_path).records())) == 160


def test_a_full_disk_is_one_line_and_the_next_record_begins_a_line(tmp_path, monkeypatch):
    store, write = FolderCalls(tmp_path), os.write
    store.put(record("a"))

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) - 50])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DiskFullError, match="free some space"):
        store.put(record("b"))
    monkeypatch.undo()
    store.put(record("c"))
    assert {one.call for one in FolderCalls(tmp_path).records()} == {"a", "c"}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot keep a call"):
        FolderCalls(tmp_path / "file" / "calls").put(record("a"))


def test_a_row_has_the_columns_of_the_table():
    assert list(record("a").row()) == [
        "call", "judge", "model", "purpose", "status", "mode", "n_attempts", "prompt_tokens", "completion_tokens",
        "cost", "seconds", "reply", "reason", "made_at", "log_probability",
    ]  # fmt: skip
