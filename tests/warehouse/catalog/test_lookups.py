"""Look-ups of finished results: rows as objects, and the features that the latest scoring selected."""

from dataclasses import fields
from datetime import timedelta

import pytest

from ato.errors import InputError
from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, build, collect_rows, commit_stage, row, write
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import (
    CollectionRow,
    SAERow,
    best_features,
    collection_row,
    latest_scores,
    sae_rows,
    selected_features,
)
from warehouse.storage.manifests import PASSED, commit
from warehouse.storage.warehouse import Warehouse


def put_scores(warehouse: Warehouse, scoring: str, selected: dict[int, int], minutes: int) -> None:
    """A scoring of six features; ``selected``: feature -> rank."""
    scored = [
        row("feature_scores", scoring=scoring, layer=4, feature_id=f, selected=f in selected, rank=selected.get(f))
        for f in range(6)
    ]
    file = warehouse.write_rows("feature_scores", scored, scoring, collection=COLLECTION, sae=SAE)
    commit(
        warehouse,
        "feature_scores",
        scoring,
        collection=COLLECTION,
        settings={},
        files=[file],
        quality=PASSED,
        started_at=STARTED + timedelta(minutes=minutes),
        seconds=1.0,
    )


@pytest.mark.parametrize(("kind", "table"), [(CollectionRow, "collections"), (SAERow, "saes")])
def test_rows_are_those_of_their_table(tmp_path, kind, table):
    warehouse = build(tmp_path)
    found = collection_row(warehouse, COLLECTION) if kind is CollectionRow else sae_rows(warehouse, [SAE])[0]
    (stored,) = rows(warehouse, f"from {table}")
    assert {field.name: getattr(found, field.name) for field in fields(kind)}.items() <= stored.items()


def test_a_collection_knows_its_median_norms_by_layer_and_its_settings(tmp_path):
    warehouse = Warehouse(tmp_path)
    tables = collect_rows()
    tables["collections"][0] |= {"layers": [2, 4], "median_norm": [1.5, 2.5], "settings": '{"skip_first": true}'}
    commit_stage(warehouse, "collect", write(warehouse, tables))
    found = collection_row(warehouse, COLLECTION)
    assert found.median_norms == {2: 1.5, 4: 2.5}
    assert found.made_with == {"skip_first": True}


def test_a_collection_that_is_not_there_is_named_with_the_cure(tmp_path):
    with pytest.raises(InputError, match=r"no complete collection 'nothing'.*ato run collect"):
        collection_row(Warehouse(tmp_path), "nothing")


def test_saes_come_by_layer_and_unknown_keys_are_left_out(tmp_path):
    warehouse = Warehouse(tmp_path)
    saes = [row("saes", sae=key, layer=layer) for key, layer in (("x", 9), ("y", 2), ("z", 4))]
    commit_stage(warehouse, "saes", write(warehouse, {"saes": saes}))
    assert [sae.sae for sae in sae_rows(warehouse, ["x", "y", "nothing"])] == ["y", "x"]
    assert sae_rows(warehouse, []) == []


def test_features_are_selected_by_the_latest_scoring_best_first(tmp_path):
    warehouse = Warehouse(tmp_path)
    assert selected_features(warehouse, COLLECTION, SAE).tolist() == []
    put_scores(warehouse, "new", {4: 2, 1: 1, 3: 3}, minutes=2)
    put_scores(warehouse, "old", {0: 1}, minutes=1)
    chosen = selected_features(warehouse, COLLECTION, SAE)
    assert (chosen.tolist(), chosen.dtype) == ([1, 4, 3], "int64")
    found = latest_scores(warehouse, COLLECTION, SAE)
    assert {score["scoring"] for score in found} == {"new"}
    assert [score["feature_id"] for score in found if score["selected"]] == [1, 3, 4]
    assert selected_features(warehouse, COLLECTION, "another").tolist() == []


def test_the_best_features_are_the_most_active_ones_until_some_are_selected(tmp_path):
    warehouse = Warehouse(tmp_path)
    counts = {0: 4, 3: 0, 5: 9, 7: 4}
    stats = [row("feature_stats", layer=4, feature_id=f, n_active=n) for f, n in counts.items()]
    commit_stage(warehouse, "features", write(warehouse, {"feature_stats": stats}))
    assert best_features(warehouse, COLLECTION, SAE, 3) == [5, 0, 7]
    assert best_features(warehouse, COLLECTION, SAE, 0) == []
    put_scores(warehouse, "scores", {4: 2, 1: 1, 3: 3}, minutes=9)
    assert best_features(warehouse, COLLECTION, SAE, 2) == [1, 4]
