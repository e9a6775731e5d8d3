"""Processes that the tests of flows share, each started when it is first asked for."""

import pytest


@pytest.fixture(scope="session")
def forks():
    """Runs of stages in processes that are forked, and may be made to die."""
    from tests.flows.forked_stages import Forks

    program = Forks()
    yield program
    program.close()


@pytest.fixture(scope="session")
def workers(prefect_server):
    """Two Dask workers."""
    from tests.flows.dask_workers import Workers

    found = Workers()
    yield found
    found.close()
