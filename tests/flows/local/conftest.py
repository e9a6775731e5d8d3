"""Every test of this room has a data folder of its own and no server."""

import pytest


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A data folder of the test's own."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path
