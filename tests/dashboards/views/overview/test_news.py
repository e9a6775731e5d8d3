"""What is new since the collection before: new findings, numbers that moved beyond both intervals, and those that did not."""

from datetime import timedelta

import pytest

import warehouse
from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from tests.warehouse.small_warehouse import STARTED, row
from warehouse.storage.manifests import commit

SKILLS = {
    "older": {1: (0.4, 0.3, 0.5), 2: (0.4, 0.3, 0.5), 3: (0.4, 0.3, 0.5)},
    "newer": {1: (0.7, 0.6, 0.8), 2: (0.2, 0.1, 0.25), 3: (0.45, 0.35, 0.55)},
}
"""Collection -> source layer -> skill of its operator with its interval."""


def add(store, collection, hour, *, with_saes=False):
    """A collection with operators and perhaps an SAE."""
    tables = {
        "collections": [
            row(
                "collections",
                collection=collection,
                layers=[1, 4],
                created_at=STARTED + timedelta(hours=hour),
                model=f"m-{collection}",
            )
        ],
        "operators": [
            row(
                "operators",
                collection=collection,
                operator=f"ridge-{source}-4",
                source_layer=source,
                leap=4 - source,
                target_layer=4,
                skill=skill,
                skill_low=low,
                skill_high=high,
            )
            for source, (skill, low, high) in SKILLS[collection].items()
        ],
    }
    if with_saes:
        tables["saes"] = [row("saes", collection=collection, layer=4, fvu=0.2, fvu_low=0.1, fvu_high=0.3, trusted=True)]
    files = [store.write_rows(name, found, "k", collection=collection) for name, found in tables.items()]
    started = STARTED + timedelta(hours=hour)
    commit(
        store, "collect", collection, collection=collection, settings={}, files=files, started_at=started, seconds=1.0
    )


@pytest.fixture
def two(tmp_path, monkeypatch):
    store = warehouse.Warehouse(tmp_path / "warehouse")
    monkeypatch.setenv("ATO_WAREHOUSE", store.root)
    add(store, "older", 1)
    add(store, "newer", 2, with_saes=True)
    return store


def test_numbers_are_higher_or_lower_only_where_intervals_do_not_overlap(two):
    app = open_page("overview")
    news = check_numbers(app)["New since the last collection"].rows
    states = {
        r["source_layer"]: r["state"]
        for r in news.iter_rows(named=True)
        if r["measure"] == "skill against the identity"
    }
    assert states == {1: "higher", 2: "lower", 3: "within the intervals"}
    moved = next(r for r in news.iter_rows(named=True) if r["source_layer"] == 1)
    assert (moved["value_before"], moved["value"], moved["previous"]) == (0.4, 0.7, "older")
    said = " ".join(block.value for block in app.markdown)
    assert "2 numbers moved" in said
    assert "New here: Quality of the SAEs." in said
    assert {r["state"] for r in news.iter_rows(named=True) if r["topic"] == "Quality of the SAEs"} == {"new"}


def test_seen_from_the_older_one_there_is_none_before(two):
    found = panels(open_page("overview", collection="older"))["New since the last collection"]
    assert "first collection" in found.informed[0]


def test_a_single_collection_has_nothing_to_be_compared_with(study):
    assert "first collection" in panels(read_page("overview"))["New since the last collection"].informed[0]
