"""Neurons labelled as a baseline beside ``label_rows``: the same answers, of neurons of the same layer."""

from datetime import timedelta

from tests.warehouse.label_rows import JUDGES, LAYER, labelling_rows
from tests.warehouse.small_warehouse import COLLECTION, STARTED, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

NEURONS = f"neurons-L{LAYER:02d}"
EVIDENCE, LABELLING = "evidence-neurons", "labels-neurons"
JUDGE = JUDGES[0]


def write_neurons(warehouse: Warehouse) -> None:
    """Write and commit the labelling of the first judge, of neurons."""
    tables = labelling_rows(EVIDENCE, {JUDGE: LABELLING, JUDGES[1]: "labels-of-nobody"})
    own = {}
    for table, rows in tables.items():
        kept = [r | {"sae": NEURONS} for r in rows if r.get("judge", JUDGE) == JUDGE and table != "label_agreement"]
        if kept:
            own[table] = kept
    own["labelled_sources"][0]["source"] = "neurons"
    for row in own["labelled_features"]:
        row.update(source="neurons", ordered_by="random", value=None, covered=None)
    evidence = {
        "labelled_sources",
        "labelled_features",
        "example_windows",
        "feature_histograms",
        "feature_strata",
        "feature_neighbours",
    }
    started = STARTED + timedelta(hours=3)
    shared = {"collection": COLLECTION, "settings": {}, "started_at": started, "seconds": 2.0}
    for stage, key, names in (("label_evidence", EVIDENCE, evidence), ("label", LABELLING, own.keys() - evidence)):
        files = write(warehouse, {name: own[name] for name in sorted(names)}, key)
        commit(warehouse, stage, key, files=files, **shared)
