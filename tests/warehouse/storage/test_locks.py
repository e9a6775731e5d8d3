"""Locks: one holder at a time, whoever waits is told for whom, and the dead hold nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from warehouse.storage import locks
from warehouse.storage.locks import held, holders
from warehouse.storage.warehouse import Warehouse

HOLD = """
import sys, time
from warehouse.storage.locks import held
from warehouse.storage.warehouse import Warehouse
with held(Warehouse(sys.argv[1]), "collect-c"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["local", "memory"])
def warehouse(request, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    return Warehouse(tmp_path / "warehouse" if request.param == "local" else f"memory://{tmp_path.name}/locks")


@pytest.fixture
def other(tmp_path):
    """A process that holds a lock of a local warehouse."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_what_is_done_under_one_lock_is_done_one_after_the_other(warehouse):
    inside, most = [], []

    def work():
        with held(Warehouse(warehouse.root), "collect-c"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert holders(warehouse) == {}
    assert warehouse.storage.names(locks.FOLDER) == []


def test_locks_of_other_names_do_not_wait(warehouse):
    told = []
    with held(warehouse, "collect-c", told.append), held(warehouse, "collect-d", told.append):
        assert set(holders(warehouse)) == {"collect-c", "collect-d"}
    assert told == []


def test_whoever_waits_is_told_for_whom(other, tmp_path):
    warehouse, told = Warehouse(tmp_path / "w"), []
    waiting = threading.Thread(target=lambda: ExitStack().enter_context(held(warehouse, "collect-c", told.append)))
    waiting.start()
    while not told:
        time.sleep(0.01)
    assert told[0].pid == other.pid
    assert f"process {other.pid} on {told[0].host}, since 2" in str(told[0])
    assert holders(warehouse) == {"collect-c": told[0]}
    other.send_signal(signal.SIGKILL)  # and is let in by its death
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(told) == 1


def test_a_lock_of_the_dead_is_nobodys(other, tmp_path):
    warehouse = Warehouse(tmp_path / "w")
    other.kill()
    other.wait()
    assert holders(warehouse) == {}
    assert os.listdir(tmp_path / "w" / "locks") == ["collect-c.json"]
    told = []
    with held(warehouse, "collect-c", told.append):
        assert told == []
    assert os.listdir(tmp_path / "w" / "locks") == []


def test_an_object_that_nobody_changes_belongs_to_the_dead(monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "EXPIRY_SECONDS", 0.2)
    warehouse, told = Warehouse("memory://dead/locks"), []
    dead = {"pid": 7, "host": "gone", "since": "2026-01-01 00:00:00", "beat": 3}
    warehouse.storage.put("locks/collect-c/000004.json", json.dumps(dead).encode())
    with held(warehouse, "collect-c", told.append):
        assert (told[0].pid, told[0].host) == (7, "gone")
        assert warehouse.storage.names("locks")[-1] == "locks/collect-c/000005.json"
    assert warehouse.storage.names("locks") == []


def test_a_holder_that_lives_keeps_its_object(monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "EXPIRY_SECONDS", 0.4)
    warehouse, done = Warehouse("memory://alive/locks"), []

    def second():
        with held(warehouse, "collect-c"):
            done.append(time.monotonic())

    with held(warehouse, "collect-c"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(1.2)  # three times as long as the dead are waited for
        assert not done
    waiting.join(10)
    assert done


def test_work_that_fails_frees_its_lock(warehouse):
    with pytest.raises(KeyboardInterrupt), held(warehouse, "collect-c"):
        raise KeyboardInterrupt
    assert holders(warehouse) == {}
