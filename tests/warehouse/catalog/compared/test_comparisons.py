"""Comparisons of planted pairs: equal things do not differ, known differences lie in their intervals, and nothing is invented."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import t

from ato.causal.effects import MeasureSums
from tests.warehouse.catalog.compared.planted import (
    BETTER,
    DOCUMENTS,
    LOSSES,
    N_FEATURES,
    OTHER,
    OTHER_SAE,
    PAIR,
    r2_of,
    write_all,
)
from tests.warehouse.compare_rows import GONE, LOST, MODELS, write_comparisons
from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, build, commit_stage, row, write
from warehouse.catalog.catalog import rows
from warehouse.catalog.compared.comparisons import PARTS
from warehouse.catalog.compared.sides import fill, pair
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

COST = "rise of the next-token loss, positions 1"


def limits(found):
    return found["difference"], found["difference_low"], found["difference_high"]


@pytest.mark.parametrize("text", ["feature:L4/3", "operator:ridge-2-4", f"sae:{SAE}", f"collection:{COLLECTION}"])
def test_a_thing_does_not_differ_from_itself(compared, text):
    found = compared(text, text)["Differences"]
    assert len(found) >= 3
    assert {row["difference"] for row in found.values()} == {0.0}


def test_a_known_difference_of_operators_lies_in_the_interval_by_feature(compared):
    found = compared("operator:ridge-2-4", "better-2-4")
    mean, low, high = limits(found["Differences"]["mean r2 of shared features"])
    differences = r2_of("better-2-4") - r2_of("ridge-2-4")
    expected = t.interval(0.95, N_FEATURES - 1, differences.mean(), differences.std(ddof=1) / np.sqrt(N_FEATURES))
    assert (mean, low, high) == pytest.approx((BETTER, *expected), rel=1e-4)
    assert found["Differences"]["mean r2 of shared features"]["paired_by"] == "feature"
    shared = {row["feature_id"]: row["difference"] for row in found["r2 of shared features"]}
    assert [shared[f] for f in range(N_FEATURES)] == pytest.approx(differences)


def test_causal_costs_are_paired_by_document_exactly_as_the_science_does(compared):
    found = compared("operator:ridge-2-4", "better-2-4")["Differences"][COST]
    differences = LOSSES["better-2-4"] - LOSSES["ridge-2-4"]
    expected = MeasureSums.of(differences[:, None, None], DOCUMENTS).means()[0, 0]
    assert limits(found) == pytest.approx((expected.value, expected.low, expected.high), rel=1e-3)
    assert (found["paired_by"], found["n_paired"]) == ("document", 8)


def test_swapped_sides_have_the_opposite_differences(compared):
    there, back = (
        compared(*sides)["Differences"]
        for sides in (("operator:ridge-2-4", "better-2-4"), ("operator:better-2-4", "ridge-2-4"))
    )
    for quantity in ("mean r2 of shared features", COST):
        value, low, high = limits(there[quantity])
        assert limits(back[quantity]) == pytest.approx((-value, -high, -low))


def test_one_sae_under_two_keys_is_one_in_two_collections(compared):
    found = compared("operator:ridge-2-4", f"ridge-2-4-there@{OTHER}")
    assert len(found["r2 of shared features"]) == N_FEATURES
    assert found["Differences"]["mean r2 of shared features"]["difference"] == pytest.approx(0, abs=1e-12)
    assert found["Differences"][COST]["paired_by"] is None, "other sequences are never paired"
    (cell,) = compared(f"collection:{COLLECTION}", f"collection:{OTHER}")["Difference of the maps"]
    assert (cell["difference"], cell["paired_by"], cell["n_paired"]) == (pytest.approx(-BETTER), "feature", N_FEATURES)


def test_without_common_documents_the_limits_come_from_both_intervals(compared):
    found = compared("feature:L4/3", f"L4/8@{OTHER}")["Differences"]["r2 from layer 2, ridge"]
    expected = r2_of("there")[8] - r2_of("better-2-4")[3]
    assert found["difference"] == pytest.approx(expected)
    assert found["difference_low"] == pytest.approx(expected - np.hypot(0.03, 0.04))
    assert found["difference_high"] == pytest.approx(expected + np.hypot(0.04, 0.03))
    assert found["paired_by"] == "no document in common"


def test_where_the_documents_of_one_side_are_not_known_nothing_counts_as_independent(with_models):
    def ask(sql):
        return rows(with_models, sql)

    left, right = pair(f"collection:{COLLECTION}", f"collection-{MODELS[1]}", COLLECTION, ask)
    assert {one["paired_by"] for one in ask(fill(PARTS[left.kind][0].sql, left, right))} <= {None, "document"}


def test_of_the_same_documents_there_is_no_interval_that_is_not_paired(compared):
    found = compared("feature:L4/3", "L4/8")["Differences"]["r2 from layer 2, ridge"]
    assert found["left_low"] is not None
    assert (found["difference_low"], found["difference_high"], found["paired_by"]) == (None, None, None)


def test_a_quantity_of_one_side_alone_has_no_difference(compared):
    found = compared("feature:L4/0", f"{OTHER_SAE}/0@{OTHER}")["Differences"]
    assert "mean activation" not in found, "measured of neither"
    assert all(row["difference"] is not None for row in found.values())


def test_equal_rates_have_equal_histograms(compared):
    rates = compared(f"sae:{SAE}", f"{OTHER_SAE}@{OTHER}")["Activation rates"]
    sides = [[(row["rate_from"], row["share"]) for row in rates if row["side"] == side] for side in ("left", "right")]
    assert sides[0] == sides[1]
    assert sum(share for _, share in sides[0]) == pytest.approx(1 - 1 / N_FEATURES), "all but the one that never fires"


@pytest.fixture(scope="module")
def with_models(tmp_path_factory):
    """The small warehouse with comparisons of two checkpoints, and an evaluation that has compared two operators."""
    warehouse = build(tmp_path_factory.mktemp("models"))
    write_comparisons(warehouse)
    write_all(warehouse, f"collection-{MODELS[1]}", "collect", {"collections": [row("collections")]})
    for hour, (key, difference) in enumerate([("evaluate-2", 0.3), ("evaluate-3", 0.2)]):
        own = {"evaluation": key, "operator": "ridge-2-4", **PAIR}
        tables = {
            "feature_transport": [row("feature_transport", **own, feature_id=1, r2=0.9, verdict="transported")],
            "feature_transport_differences": [
                row(
                    "feature_transport_differences",
                    **own,
                    against="identity-2-4",
                    against_method="identity",
                    features="all",
                    difference=difference,
                    difference_low=0.1,
                    difference_high=0.4,
                    n_features=2,
                    n_documents=20,
                )
            ],
        }
        started = STARTED + timedelta(hours=1 + hour)
        files = write(warehouse, tables, key)
        commit(
            warehouse, "evaluate", key, collection=COLLECTION, settings={}, files=files, started_at=started, seconds=1.0
        )
    return warehouse


def test_paired_differences_of_operators_are_the_latest_in_both_directions(with_models):
    found = rows(with_models, "from operator_differences where stage = 'evaluate' order by left_operator")
    assert [(one["left_operator"], one["right_operator"], *limits(one)) for one in found] == [
        ("identity-2-4", "ridge-2-4", 0.2, 0.1, 0.4),
        ("ridge-2-4", "identity-2-4", -0.2, -0.4, -0.1),
    ]


def test_paired_differences_of_collections_stand_in_both_directions(with_models):
    (one,) = rows(with_models, f"from operator_differences where left_collection = 'collection-{MODELS[1]}'")
    assert one["difference"] == pytest.approx(-GONE * len(LOST[MODELS[1]]) / 6)
    assert one["difference_low"] < one["difference"] < one["difference_high"]


def test_paired_differences_of_one_feature_stand_in_both_directions(with_models):
    sql = f"from feature_differences where feature_id = 1 and '{f'collection-{MODELS[1]}'}' in (left_collection, right_collection)"
    there, back = sorted(rows(with_models, sql), key=lambda one: one["left_collection"], reverse=True)
    assert limits(there) == pytest.approx((GONE, GONE - 0.02, GONE + 0.02))
    assert limits(back) == pytest.approx((-GONE, -GONE - 0.02, -GONE + 0.02))
    assert (there["left_r2"], there["right_r2"]) == (back["right_r2"], back["left_r2"])


def test_the_same_feature_in_another_model_has_a_paired_interval(with_models):
    def ask(sql):
        return rows(with_models, sql)

    left, right = pair(f"feature:{SAE}/1", f"{SAE}/1@collection-{MODELS[1]}", COLLECTION, ask)
    found = {one["quantity"]: one for one in ask(fill(PARTS[left.kind][0].sql, left, right))}
    one = found["r2 from layer 2 to 4, ridge, of `ato run compare`"]
    assert limits(one) == pytest.approx((GONE, GONE - 0.02, GONE + 0.02))
    assert one["paired_by"] == "document"


def test_an_interval_by_document_stands_where_it_is_of_the_same_features(tmp_path):
    warehouse = Warehouse(tmp_path)
    operators = [row("operators", operator=f"{m}-2-4", method=m, **PAIR) for m in ("ridge", "identity")]
    scores = [
        row("feature_transport", evaluation="evaluate-1", operator=f"{m}-2-4", method=m, **PAIR, feature_id=f, r2=r2)
        for m, r2 in (("ridge", 0.9), ("identity", 0.5))
        for f in range(6)
    ]
    stored = row(
        "feature_transport_differences",
        evaluation="evaluate-1",
        operator="ridge-2-4",
        against="identity-2-4",
        **PAIR,
        features="all",
        difference=0.4,
        difference_low=0.3,
        difference_high=0.6,
        n_features=6,
        n_documents=30,
    )
    collected = {"collections": [row("collections")], "saes": [row("saes", layer=4)], "operators": operators}
    commit_stage(warehouse, "operators", write(warehouse, collected))
    commit_stage(
        warehouse,
        "evaluate",
        write(warehouse, {"feature_transport": scores, "feature_transport_differences": [stored]}),
    )
    left, right = pair("operator:identity-2-4", "ridge-2-4", COLLECTION, lambda sql: rows(warehouse, sql))
    found = {one["quantity"]: one for one in rows(warehouse, fill(PARTS[left.kind][0].sql, left, right))}
    one = found["mean r2 of shared features"]
    assert (limits(one), one["paired_by"], one["n_paired"]) == ((pytest.approx(0.4), 0.3, 0.6), "document", 30)
