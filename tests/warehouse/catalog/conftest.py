"""A warehouse with one table that nobody writes to."""

from datetime import UTC, datetime

import pytest

from warehouse.catalog.catalog import connect
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

ROWS = {
    "architecture": "topk",
    "tokens": 64,
    "mse": 0.5,
    "fvu": 0.25,
    "l0": 8.0,
    "dead_share": 0.0,
    "lr": 1e-3,
    "n_resampled": 0,
    "fvu_held_out": None,
}


@pytest.fixture(scope="session")
def read_store(tmp_path_factory):
    """A warehouse with one table of three rows, to which nobody writes."""
    store = Warehouse(tmp_path_factory.mktemp("read") / "warehouse")
    rows = [ROWS | {"step": step} for step in range(3)]
    file = store.write_rows("sae_training", rows, "saes-1", collection="c", sae="s")
    started = datetime(2026, 1, 1, tzinfo=UTC)
    commit(store, "saes", "saes-1", collection="c", settings={}, files=[file], started_at=started, seconds=1.0)
    return store


@pytest.fixture(scope="session")
def db(read_store):
    """A connection that all share, as the visitors of a page do."""
    return connect(read_store)
