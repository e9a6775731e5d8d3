"""What stages cost: shares of a batch add up to it, parts are counted, and no time is lost between commits."""

import time

import pytest

from tasks.engine import work_clock
from tasks.engine.stage import Stage, checked_together
from tasks.engine.work_clock import Cost, WorkClock, measured, running_clock, shares
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse


class Time:
    """A monotonic clock that tests set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def hands(monkeypatch):
    """The hands of the clock of stages."""
    hands = Time()
    monkeypatch.setattr(work_clock.time, "monotonic", hands.monotonic)
    return hands


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def stage(store: Warehouse, name: str) -> Stage:
    return Stage(store, name, name, settings={}, inputs=[], collection="c")


def test_shares_are_ones_own_time_and_an_even_part_of_the_rest():
    assert shares(10.0, [1.0, 3.0]) == [4.0, 6.0]
    assert shares(2.0, [3.0, 1.0]) == [1.5, 0.5]
    assert shares(0.0, [0.0]) == [0.0]


def test_a_stage_is_charged_with_the_work_before_its_commit(store, hands):
    with measured():
        hands.now = 5.0  # the work
        with stage(store, "causal"):
            hands.now = 6.0
    (run,) = manifests(store)
    assert (run.seconds, run.batch_seconds, run.batch_stages, run.batch) == (6.0, 6.0, 1, run.key)
    assert run.cpu_seconds is not None
    assert run.cpu_seconds >= 0
    assert run.peak_memory > 10_000_000


def test_stages_that_are_checked_together_share_their_pass_and_say_so(store, hands):
    with measured():
        with stage(store, "collect"):
            hands.now = 3.0
        hands.now = 7.0  # a pass for both
        with checked_together():
            with stage(store, "evaluate"):
                hands.now = 8.0
            with stage(store, "causal"):
                hands.now = 11.0
    runs = {run.stage: run for run in manifests(store)}
    assert {name: run.seconds for name, run in runs.items()} == {"collect": 3.0, "evaluate": 3.0, "causal": 5.0}
    assert {run.batch for name, run in runs.items() if name != "collect"} == {runs["evaluate"].key}
    assert [runs[name].batch_stages for name in ("collect", "evaluate", "causal")] == [1, 2, 2]
    assert runs["evaluate"].batch_seconds == runs["causal"].batch_seconds == 8.0
    assert sum(run.seconds for run in runs.values()) == hands.now


def test_what_a_consumer_of_a_shared_pass_took_can_be_charged_to_it(store, hands):
    with measured(), checked_together():
        with stage(store, "collect") as first:
            hands.now = 10.0
        first.charge(-4.0)
        second = stage(store, "moments")
        second.charge(4.0)
        with second:
            hands.now = 12.0
    assert {run.stage: run.seconds for run in manifests(store)} == {"collect": 6.0, "moments": 6.0}


def test_cpu_time_and_memory_of_parts_are_added():
    clock = WorkClock()
    clock.add_part(Cost(None, seconds=9.0, cpu_seconds=100.0, peak_memory=1 << 60))
    lap = clock.lap()
    assert lap.cpu_seconds >= 100
    assert lap.seconds < 9
    assert lap.peak_memory == 1 << 60
    assert clock.lap().cpu_seconds < 100


def test_one_clock_runs_through_nested_work_and_a_part_has_its_own():
    with measured() as clock:
        with measured() as inner:
            assert inner is clock
        with measured(apart=True) as part:
            assert part is not clock
        assert running_clock() is clock
    assert running_clock() is None


def test_memory_is_known_without_proc_too(monkeypatch, tmp_path):
    monkeypatch.setattr(work_clock, "STATUS", tmp_path / "none")
    assert 1e7 < WorkClock().lap().peak_memory < 1e12


def test_waiting_for_another_run_is_not_work(store, hands, monkeypatch):
    from contextlib import contextmanager

    from tasks.engine import exclusive

    @contextmanager
    def held(warehouse, name, say_who):
        hands.now = 100.0
        say_who(None)
        yield

    monkeypatch.setattr(exclusive.locks, "held", held)
    with exclusive.exclusive(store, "causal", "c"), stage(store, "causal"):
        hands.now = 103.0
    assert [run.seconds for run in manifests(store)] == [3.0]


def test_the_table_shows_what_the_manifests_hold(store):
    with measured(), checked_together():
        with stage(store, "evaluate"):
            time.sleep(0.01)
        with stage(store, "causal"):
            pass
    found = rows(store, "select sum(seconds) as seconds, any_value(batch_seconds) as batch from stage_runs")
    assert found[0]["seconds"] == pytest.approx(found[0]["batch"])
