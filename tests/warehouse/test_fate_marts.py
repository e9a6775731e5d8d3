"""Marts of fates on planted rows: the latest run counts, views that are missing are NULL, kappa is the textbook's."""

from datetime import timedelta

import pytest

from tests.warehouse.small_warehouse import (
    COLLECTION,
    SAE,
    STARTED,
    analysis_rows,
    collect_rows,
    commit_stage,
    row,
    write,
)
from warehouse.catalog.catalog import rows
from warehouse.quality.rules import check_rules
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

OTHER = "sae-layer02-bbbb0000"
PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}
SAID = [  # ridge, identity, causal; feature by feature
    ("transported", "transported", "transported"),
    ("transported", "computed", "transported"),
    ("transported", "computed", "computed"),
    ("computed", "computed", "computed"),
    ("computed", "transported", "computed"),
    ("undetermined", "computed", "transported"),
    ("computed", "undetermined", None),
]


def scores(method: str, feature: int, verdict: str) -> dict:
    r2 = {"transported": 0.9, "computed": 0.1, "undetermined": 0.5}[verdict]
    return row(
        "feature_transport",
        **PAIR,
        evaluation="evaluate-1",
        operator=f"{method}-2-4",
        method=method,
        feature_id=feature,
        r2=r2,
        r2_low=r2 - 0.05,
        r2_high=r2 + 0.05,
        verdict=verdict,
    )


def ablations(key: str, agreement: float) -> list[dict]:
    found = []
    for feature, (*_, verdict) in enumerate(SAID):
        if verdict is not None:
            own = {"evaluation": key, "operator": "ridge-2-4", "feature_id": feature, "n_tokens": 9, "verdict": verdict}
            found.append(row("feature_ablations", **PAIR, **own, direction="pullback", agreement=agreement))
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    warehouse = Warehouse(tmp_path_factory.mktemp("fates"))
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    saes = [*analysis_rows()["saes"], row("saes", sae=OTHER, layer=2, d_sae=3)]
    commit_stage(warehouse, "saes", write(warehouse, {"saes": saes}))
    methods = ("ridge", "identity")
    operators = [row("operators", operator=f"{m}-2-4", method=m, **PAIR, r2_val=0.5) for m in methods]
    commit_stage(warehouse, "operators", write(warehouse, {"operators": operators}))
    judged = [scores(m, f, said[i]) for f, said in enumerate(SAID) for i, m in enumerate(methods)]
    commit_stage(warehouse, "evaluate", write(warehouse, {"feature_transport": judged}))
    for hour, (key, agreement) in enumerate([("fate-1", 0.2), ("fate-2", 0.8)]):
        files = write(warehouse, {"feature_ablations": ablations(key, agreement)}, key)
        started = STARTED + timedelta(hours=hour)
        commit(warehouse, "fate", key, collection=COLLECTION, settings={}, files=files, started_at=started, seconds=1.0)
    return warehouse


def test_fates_come_from_the_verdicts_and_the_latest_ablations_count(planted):
    found = rows(planted, "from feature_fate order by feature_id")
    assert [one["fate"] for one in found] == [
        "carried",
        "rewritten",
        "rewritten",
        "computed",
        "computed",
        "undetermined",
        "computed",
    ]
    assert [one["views_disagree"] for one in found] == [False, True, True, False, True, True, False]
    assert {one["agreement"] for one in found} == {0.8, None}
    assert {(one["r2_jacobian"], one["decoder_cosine"], one["verdict_pathway"]) for one in found} == {
        (None, None, None)
    }


def test_kappa_is_that_of_the_counted_pairs(planted):
    found = {
        (one["view"], one["against"]): one for one in rows(planted, "from fate_agreement where target_layer is null")
    }
    assert set(found) == {("ridge", "identity"), ("ridge", "causal"), ("identity", "causal")}
    one = found["ridge", "identity"]  # of features 0 to 4
    assert [one[name] for name in ("n", "both_transported", "first_only", "second_only", "neither")] == [5, 1, 2, 1, 1]
    by_chance = 3 / 5 * 2 / 5 + 2 / 5 * 3 / 5
    assert one["by_chance"] == pytest.approx(by_chance)
    assert one["kappa"] == pytest.approx((2 / 5 - by_chance) / (1 - by_chance))
    per_pair = rows(planted, "from fate_agreement where target_layer = 4 and view = 'ridge' and against = 'identity'")
    assert [row["kappa"] for row in per_pair] == [one["kappa"]]


def test_a_view_that_says_the_same_of_all_has_no_kappa_against_one_that_does_too(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    commit_stage(warehouse, "saes", write(warehouse, {"saes": analysis_rows()["saes"]}))
    operators = [row("operators", operator=f"{m}-2-4", method=m, **PAIR, r2_val=0.5) for m in ("ridge", "identity")]
    commit_stage(warehouse, "operators", write(warehouse, {"operators": operators}))
    judged = [scores(m, f, "transported") for f in range(3) for m in ("ridge", "identity")]
    commit_stage(warehouse, "evaluate", write(warehouse, {"feature_transport": judged}))
    found = rows(warehouse, "from fate_agreement")
    assert [(one["n"], one["agreed"], one["kappa"]) for one in found] == [(3, 1.0, None)] * 2


def link(**values) -> dict:
    own = {"sae": SAE, "layer": 4, "other_sae": OTHER, "other_layer": 2, "feature_id": 0, "evaluation": "fate-1"}
    return row("feature_links", **own | values)


@pytest.mark.parametrize(
    ("tables", "broken"),
    [
        ({"feature_links": [link(other_layer=4)]}, "the other SAE is at another layer"),
        ({"feature_links": [link(sae="nothing")]}, "sae is in saes"),
        (
            {"feature_ablations": [row("feature_ablations", **PAIR, n_tokens=0, agreement=0.5)]},
            "nothing is measured where nothing was taken out",
        ),
    ],
)
def test_rows_that_cannot_be_are_found(planted, tables, broken):
    findings = check_rules(planted, write(planted, tables, "wrong"), [], None)
    assert broken in {finding.expectation for finding in findings if not finding.success}
