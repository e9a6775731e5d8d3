"""Rows of every table, all sound."""

import pytest

from tests.warehouse.small_warehouse import (
    build,
)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A warehouse with everything, onto whose copy each fault is checked as a fresh stage."""
    return build(tmp_path_factory.mktemp("base"))
