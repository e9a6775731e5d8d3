"""Fixtures shared by all rooms: a quiet environment, and a Prefect server for the tests that run flows."""

import os

import pytest

from flows.environment import QUIET

for name, value in QUIET.items():
    os.environ.setdefault(name, value)


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
