"""What the pages read: made anew where a stage has finished since, and only there."""

import pytest

from dashboards.ui import snapshot
from dashboards.ui.snapshot import Live
from tests.warehouse.small_warehouse import commit_stage
from warehouse.storage.warehouse import Warehouse


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which tests set."""
    now = [0.0]
    monkeypatch.setattr(snapshot, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def store(tmp_path):
    """A warehouse with one finished stage."""
    store = Warehouse(tmp_path / "warehouse")
    commit_stage(store, "collect", [])
    return store


def stages(taken):
    return sorted(row[0] for row in taken.connection.cursor().sql("select stage from stage_runs").fetchall())


def test_a_snapshot_is_kept_as_long_as_no_stage_has_finished(store, clock):
    live = Live(store.root)
    first = live.current()
    for clock[0] in (1, 31, 62, 5000):
        assert live.current() is first


def test_a_visitor_after_a_pause_sees_what_has_finished_meanwhile(store, clock):
    live = Live(store.root)
    live.current()
    commit_stage(store, "saes", [])
    clock[0] = 10 * snapshot.FRESH_SECONDS
    assert stages(live.current()) == ["collect", "saes"]


def test_who_keeps_looking_never_waits_and_sees_it_soon(store, clock):
    live = Live(store.root)
    first = live.current()
    commit_stage(store, "saes", [])
    clock[0] = snapshot.FRESH_SECONDS - 1
    assert live.current() is first
    clock[0] = snapshot.FRESH_SECONDS + 1
    assert stages(live.current()) in (["collect"], ["collect", "saes"])
    live._renewing.join()
    assert stages(live.current()) == ["collect", "saes"]
    assert stages(first) == ["collect"], "what a page has begun with stays readable"


def test_a_written_warehouse_is_seen_from_an_empty_one(tmp_path, clock):
    live = Live(str(tmp_path / "warehouse"))
    assert stages(live.current()) == []
    commit_stage(Warehouse(tmp_path / "warehouse"), "collect", [])
    clock[0] = 10 * snapshot.FRESH_SECONDS
    assert stages(live.current()) == ["collect"]
