"""Which collection a command is about: the one that is named, else the latest."""

from datetime import timedelta

import pytest

from ato.errors import InputError
from flows.engine.collections import chosen_collection
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def test_the_latest_is_chosen_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    with pytest.raises(InputError, match=r"no collection yet.*ato run pipeline"):
        chosen_collection()
    warehouse = Warehouse()
    for days, key in enumerate((COLLECTION, "later")):
        values = {"collection": key, "created_at": STARTED + timedelta(days)}
        table = [row | values for row in collect_rows()["collections"]]
        file = warehouse.write_rows("collections", table, key, collection=key)
        commit(warehouse, "collect", key, collection=key, settings={}, files=[file], started_at=STARTED, seconds=1.0)
    assert chosen_collection() == "later"
    assert chosen_collection(COLLECTION) == COLLECTION
    with pytest.raises(InputError, match=rf"no collection 'other'.*choose from {COLLECTION}, later"):
        chosen_collection("other")
    assert chosen_collection(committed=["compare"]) == "later"
    commit(warehouse, "compare", "c", collection=COLLECTION, settings={}, files=[], started_at=STARTED, seconds=1.0)
    assert chosen_collection(committed=["compare"]) == COLLECTION
    assert chosen_collection("later", committed=["compare"]) == "later"
