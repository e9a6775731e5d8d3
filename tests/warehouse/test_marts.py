"""The marts: right columns without data, and aggregates that were worked out by hand."""

from pathlib import Path

import pytest

from tests.warehouse.small_warehouse import COLLECTION, SAE, build, collect_rows, commit_stage, row, write
from warehouse.catalog import connect, rows
from warehouse.store import Warehouse

MARTS = {path.stem: path for path in (Path(__file__).parents[2] / "warehouse" / "sql").glob("*.sql")}
PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}


def transport(feature_id, r2, *, low=None, high=None, verdict="undetermined", operator="ridge-2-4", **values):
    values = {"evaluation": "evaluate-1", **PAIR, **values}
    return row(
        "feature_transport", operator=operator, feature_id=feature_id, r2=r2, r2_low=low, r2_high=high,
        verdict=verdict, sae_trusted=True, **values,
    )  # fmt: skip


def operator(name="ridge-2-4", **values):
    return row("operators", operator=name, **{**PAIR, **values})


def efficiency(rank, value, **values):
    return row(
        "efficiency", **{"evaluation": "evaluate-1", **PAIR, "rank": rank, "d_kept": 8, "efficiency": value, **values}
    )


def warehouse_of(root, **tables):
    warehouse = Warehouse(root)
    commit_stage(warehouse, "evaluate", write(warehouse, tables))
    return warehouse


def test_there_are_marts():
    assert len(MARTS) >= 7


@pytest.mark.parametrize("mart", sorted(MARTS))
def test_every_mart_opens_with_its_meaning_and_is_empty_with_columns_on_an_empty_warehouse(mart, tmp_path):
    assert MARTS[mart].read_text(encoding="utf-8").startswith("-- ")
    relation = connect(tmp_path).sql(f"from {mart}")
    assert len(relation.columns) > 5
    assert relation.fetchall() == []


def test_transport_map_averages_scored_features_and_counts_the_others(tmp_path):
    warehouse = warehouse_of(
        tmp_path,
        operators=[operator(rank=6)],
        feature_transport=[
            transport(0, None, ceiling=0.1, skill=0.9),
            transport(1, 0.9, verdict="transported", ceiling=0.95, skill=0.5),
            transport(2, 0.8, verdict="transported", ceiling=0.85, skill=0.3),
            transport(3, 0.1, verdict="synthesised", ceiling=0.3, skill=-0.2),
            transport(4, 0.2, ceiling=0.5, skill=None),
        ],
    )
    (found,) = rows(warehouse, "from transport_map")
    assert (found["n_features"], found["n_features_scored"], found["n_features_not_scored"]) == (5, 4, 1)
    assert found["mean_r2"] == pytest.approx(0.5)
    assert found["median_r2"] == pytest.approx(0.5)
    assert found["mean_skill"] == pytest.approx(0.2)
    assert found["mean_ceiling"] == pytest.approx(0.65)
    assert (found["share_transported"], found["share_synthesised"], found["share_undetermined"]) == (0.5, 0.25, 0.25)
    assert found["sae_trusted"]
    assert (found["rank"], found["position_policy"]) == (6, "same")


def test_transport_map_has_no_averages_where_no_feature_was_scored(tmp_path):
    warehouse = warehouse_of(tmp_path, operators=[operator()], feature_transport=[transport(0, None)])
    (found,) = rows(warehouse, "from transport_map")
    assert found["mean_r2"] is None
    assert found["share_transported"] is None
    assert found["n_features_not_scored"] == 1


def test_transport_map_keeps_operators_apart_and_marks_the_latest_evaluation(tmp_path):
    warehouse = Warehouse(tmp_path)
    first = write(warehouse, {"operators": [operator(), operator("mean-2-4", method="mean")]})
    old = [transport(0, 0.1, evaluation="operators-1")]
    new = [transport(0, 0.9), transport(0, 0.0, operator="mean-2-4", method="mean")]
    commit_stage(warehouse, "operators", [*first, *write(warehouse, {"feature_transport": old})])
    file = warehouse.write_rows("feature_transport", new, "new", collection=COLLECTION, sae=SAE)
    commit_stage(warehouse, "evaluate", [file])
    found = rows(warehouse, "select method, mean_r2, is_latest from transport_map order by all")
    assert [tuple(f.values()) for f in found] == [("mean", 0.0, True), ("ridge", 0.1, False), ("ridge", 0.9, True)]


def test_efficiency_curves_are_ordered_and_tell_what_each_rank_adds(tmp_path):
    curve = [
        efficiency(4, 0.9, r2_rrr=0.6, ceiling_held_out=0.7, ceiling_in_sample=0.75),
        efficiency(1, 0.5, r2_rrr=0.2, ceiling_held_out=0.4, ceiling_in_sample=0.4),
    ]
    found = rows(warehouse_of(tmp_path, efficiency=curve), "from efficiency_curves")
    assert [f["rank"] for f in found] == [1, 4]
    assert [f["rank_share"] for f in found] == [0.125, 0.5]
    assert [f["ceiling_gain"] for f in found] == pytest.approx([0.4, 0.3])
    assert [f["r2_gain"] for f in found] == pytest.approx([0.2, 0.4])
    assert [f["bracket_width"] for f in found] == pytest.approx([0.0, 0.05])
    assert all(f["is_latest"] for f in found)


def test_leaderboard_orders_a_pair_by_test_r2_beside_its_baselines(tmp_path):
    operators = [
        operator("ridge-2-4", r2_test=0.8, r2_test_low=0.7, r2_test_high=0.85),
        operator("rrr-2-4", method="rrr", r2_test=0.65, r2_test_low=0.55, r2_test_high=0.7),
        operator("identity-2-4", method="identity", r2_test=0.6, r2_test_low=0.5),
        operator("mean-2-4", method="mean", r2_test=-0.01),
        operator("ridge-2-6", target_layer=6, leap=4, r2_test=0.4),
    ]
    found = rows(warehouse_of(tmp_path, operators=operators), "from operator_leaderboard")
    assert [(f["method"], f["place"]) for f in found] == [
        ("ridge", 1), ("rrr", 2), ("identity", 3), ("mean", 4), ("ridge", 1),
    ]  # fmt: skip
    assert found[0]["r2_over_identity"] == pytest.approx(0.2)
    assert (found[0]["r2_test_identity"], found[0]["r2_test_mean"]) == (0.6, -0.01)
    assert [f["beats_identity"] for f in found] == [True, False, False, None, None]
    assert found[4]["r2_test_identity"] is None


def test_efficiency_by_leap_averages_pairs_at_full_rank_and_over_the_grid(tmp_path):
    other = {"source_layer": 4, "target_layer": 6}
    warehouse = warehouse_of(
        tmp_path,
        efficiency=[
            efficiency(1, 0.4, ceiling_held_out=0.3, r2_rrr=0.1, efficiency_paper=0.2),
            efficiency(2, 0.96, ceiling_held_out=0.5, r2_rrr=0.4, efficiency_paper=0.5),
            efficiency(8, 1.0, ceiling_held_out=0.6, r2_rrr=0.6, efficiency_paper=0.8, bracket_wide=True),
            efficiency(1, 0.2, **other),
            efficiency(8, 0.6, ceiling_held_out=0.8, r2_rrr=0.4, efficiency_paper=0.6, **other),
        ],
        subspaces=[row("subspaces", evaluation="evaluate-1", **PAIR, lts_dim_participation=3.0, lts_rank_90=2)],
    )
    (found,) = rows(warehouse, "from efficiency_by_leap")
    assert (found["leap"], found["n_pairs"], found["mean_largest_rank"]) == (2, 2, 8)
    assert found["mean_efficiency"] == pytest.approx(0.8)
    assert found["mean_efficiency_paper"] == pytest.approx(0.7)
    assert found["mean_ceiling_held_out"] == pytest.approx(0.7)
    assert found["mean_r2_rrr"] == pytest.approx(0.5)
    # Over the grid: (0.4 + 0.96 + 1.0) / 3 and (0.2 + 0.6) / 2.
    assert found["mean_grid_efficiency"] == pytest.approx((2.36 / 3 + 0.4) / 2)
    # 95 % of the best efficiency: rank 2 (0.96 >= 0.95) and rank 8.
    assert found["mean_saturation_rank"] == 5
    assert (found["mean_lts_dim_participation"], found["mean_lts_rank_90"]) == (3.0, 2)
    assert (found["n_pairs_bracket_wide"], found["mean_efficiency_rank_64"]) == (1, None)


def test_efficiency_by_leap_counts_a_pair_that_was_evaluated_twice_once(tmp_path):
    warehouse = Warehouse(tmp_path)
    old = warehouse.write_rows("efficiency", [efficiency(8, 0.1, evaluation="operators-1")], "a", collection=COLLECTION)
    new = warehouse.write_rows("efficiency", [efficiency(8, 0.5)], "b", collection=COLLECTION)
    commit_stage(warehouse, "operators", [old])
    commit_stage(warehouse, "evaluate", [new])
    (found,) = rows(warehouse, "from efficiency_by_leap")
    assert (found["n_pairs"], found["mean_efficiency"]) == (1, 0.5)


def test_feature_profile_follows_a_feature_back_until_it_is_no_longer_transported(tmp_path):
    def pair(leap):
        return {"source_layer": 8 - leap, "leap": leap, "target_layer": 8}

    verdicts = {1: ("transported", 0.9), 2: ("transported", 0.8), 3: ("synthesised", 0.1), 4: ("transported", 0.75)}
    warehouse = warehouse_of(
        tmp_path,
        operators=[
            *(operator(f"ridge-{leap}", r2_val=0.5, **pair(leap)) for leap in verdicts),
            operator("ridge-1-worse", r2_val=0.4, **pair(1)),
        ],
        feature_transport=[
            *(transport(7, r2, verdict=v, operator=f"ridge-{k}", **pair(k)) for k, (v, r2) in verdicts.items()),
            transport(7, 0.2, verdict="synthesised", operator="ridge-1-worse", **pair(1)),
            transport(9, None, operator="ridge-1", **pair(1)),
        ],
    )
    found = rows(warehouse, "from feature_profile where feature_id = 7")
    assert [f["operator"] for f in found] == ["ridge-1", "ridge-2", "ridge-3", "ridge-4"]
    assert [f["transported_so_far"] for f in found] == [True, True, False, False]
    assert [f["r2_change"] for f in found] == pytest.approx([None, -0.1, -0.7, 0.65])
    assert {(f["transported_from"], f["transported_leap"], f["stops_at_leap"], f["stops_as"]) for f in found} == {
        (6, 2, 3, "synthesised")
    }
    (unscored,) = rows(warehouse, "from feature_profile where feature_id = 9")
    assert (unscored["transported_from"], unscored["stops_at_leap"], unscored["stops_as"]) == (None, 1, "undetermined")


def test_stage_overview_adds_up_the_manifests(tmp_path):
    warehouse = build(tmp_path)
    commit_stage(warehouse, "saes", [], key="saes-2", quality="failed")
    found = {f["stage"]: f for f in rows(warehouse, "from stage_overview")}
    assert list(found) == ["collect", "saes", "features", "operators", "evaluate"]
    assert (found["saes"]["n_keys"], found["saes"]["n_failed"], found["saes"]["seconds"]) == (2, 1, 4.0)
    # One collection, four sequences, two layers of twelve activations, in four files.
    assert (found["collect"]["rows"], found["collect"]["n_files"], found["collect"]["last_key"]) == (29, 4, "collect-1")


def test_collection_overview_sums_the_splits_and_counts_what_was_made(tmp_path):
    (found,) = rows(build(tmp_path), "from collection_overview")
    assert found["share_dropped"] == 0.25
    assert [found[f"n_documents_{split}"] for split in ("train", "val", "test")] == [1, 1, 1]
    assert [found[f"n_tokens_{split}"] for split in ("train", "val", "test")] == [8, 4, 4]
    assert (found["n_saes"], found["n_saes_trusted"], found["n_pairs"], found["n_operators"]) == (1, 1, 1, 1)
    assert found["best_r2_test"] == 0.8


def test_collection_overview_shows_a_collection_of_which_nothing_was_made_yet(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    (found,) = rows(warehouse, "from collection_overview")
    assert (found["n_saes"], found["n_operators"], found["best_r2_test"]) == (0, 0, None)
