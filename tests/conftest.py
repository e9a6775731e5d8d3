"""Fixtures shared by all rooms: a quiet environment, a Prefect server for the tests that run flows, and forked programs."""

import gc
import os
import sys

import pytest

from flows.engine.environment import QUIET

for name, value in QUIET.items():
    os.environ.setdefault(name, value)

SHARED = {"forks": "stages", "workers": "stages", "programs": "programs"}
"""Fixtures that start processes, which take ten seconds of imports and more -> the modules that they belong to."""


def pytest_ignore_collect(collection_path, config):
    """Where only tests of the platform are asked for, files without any are not imported, which takes half of the time."""
    asked = config.getoption("markexpr").startswith("platform")
    if asked and collection_path.suffix == ".py" and "platform" not in collection_path.read_text(encoding="utf-8"):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    """Modules that share processes of a session go to one worker of xdist, every other module by itself.

    Shared ones and those with slow tests come first: workers that are given one after the other then end together.
    """
    shared = {item.path: SHARED[name] for item in items for name in item.fixturenames if name in SHARED}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in shared, item.path not in slow))
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(shared.get(item.path, item.nodeid.partition("::")[0])))


def pytest_runtest_setup(item):
    """What slow tests have imported stays: flows collect garbage after each stage, and need not look through it again."""
    if item.get_closest_marker("slow"):
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _the_disk_is_not_waited_for():
    """No test cuts the power: what a killed process has written is there, flushed or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _the_main_module_stays():
    """Streamlit leaves its script as the main module, which every process that is spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """A temporary Prefect server of this test process, with the heartbeat of flows off."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def programs():
    """Programs in processes that are forked from one that has imported the heavy libraries."""
    from tests.forked_programs import Programs

    found = Programs()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def mlflow_forgets_addresses():
    """What a test told MLflow of its tracking server and registry holds for that test alone."""
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    yield
    if (mlflow := sys.modules.get("mlflow")) is None:
        return
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
