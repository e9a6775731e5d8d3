"""The servers of ``ato doctor``: which are used, which do not answer, and what to do about it."""

import os
import socket
from contextlib import closing

import pytest

from flows.commands import servers
from flows.local.state import UpState
from flows.settings import Settings

NOWHERE = "http://127.0.0.1:9"
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A data folder of the test's own, and no server named."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def found(scheduler: str = "") -> dict[str, tuple]:
    """Component -> state, what was found, cure."""
    settings = Settings.model_validate({"fan_out": {"scheduler": scheduler}})
    return {component: rest for component, *rest in servers.servers(settings)}


def test_where_nothing_runs_nothing_is_broken():
    assert [name for name, (ok, *_) in found().items() if ok is False] == []
    assert found()["prefect server"][0] is None
    assert "worker, pool gpu" not in found()


def test_a_server_that_does_not_answer_is_broken_and_so_are_its_workers(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", f"{NOWHERE}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    broken = {name: cure for name, (ok, _, cure) in found().items() if ok is False}
    assert set(broken) == {"prefect server", "worker, pool cpu", "worker, pool gpu", "mlflow server"}
    assert "unset PREFECT_API_URL" in broken["prefect server"]
    assert "unset MLFLOW_TRACKING_URI" in broken["mlflow server"]


def test_a_killed_platform_is_told_from_one_that_runs():
    UpState(os.getpid(), "token", {}).write()
    assert found()["ato up"][0] is True
    UpState(2**22 + 1, "token", {}).write()
    ok, what, cure = found()["ato up"]
    assert (ok, "was killed" in what, "start it again" in cure) == (False, True, True)


def test_the_database_of_a_server_is_named_without_its_password(monkeypatch):
    assert found()["prefect database"][:2] == [True, "SQLite"]
    with closing(socket.create_server(("127.0.0.1", 0))) as database:
        port = database.getsockname()[1]
        address = f"postgresql+asyncpg://ato:{SECRET}@127.0.0.1:{port}/prefect"
        monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", address)
        assert found()["prefect database"] == [True, "PostgreSQL at 127.0.0.1, database prefect", ""]
    ok, what, cure = found()["prefect database"]
    assert ok is False
    assert SECRET not in what + cure


@pytest.mark.parametrize(
    ("scheduler", "installed", "ok"),
    [("", False, None), ("local", True, True), ("local", False, False), ("tcp://127.0.0.1:9", True, False)],
)
def test_the_dask_scheduler_of_the_settings_is_looked_for(scheduler, installed, ok, monkeypatch):
    monkeypatch.setattr(servers, "find_spec", lambda name: installed)
    state, _, cure = found(scheduler)["dask scheduler"]
    assert state is ok
    assert bool(cure) == (ok is not True)
