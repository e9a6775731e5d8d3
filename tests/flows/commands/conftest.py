"""A finished study for the commands that read one, written row by row: no flow has to run."""

import pytest

from tests.dashboards.whole_study import build_whole_study
from tests.warehouse.small_warehouse import COLLECTION, build


@pytest.fixture(scope="session")
def study_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands") / "warehouse"
    build_whole_study(root)
    return root


@pytest.fixture
def study(study_root, monkeypatch) -> str:
    """Key of the study's collection; it is only read."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(study_root))
    return COLLECTION


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """A small warehouse of the test's own in which every expectation holds."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return build(tmp_path / "warehouse")
