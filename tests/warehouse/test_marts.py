"""The marts: right columns without data, and aggregates that were worked out by hand."""

from datetime import timedelta
from pathlib import Path

import pytest

from ato.operators.methods import BASELINES
from tests.warehouse.small_warehouse import (
    COLLECTION,
    SAE,
    STARTED,
    build,
    collect_rows,
    commit_stage,
    row,
    warehouse_of,
    write,
)
from warehouse.catalog.catalog import connect, rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

MARTS = {path.stem: path for path in (Path(__file__).parents[2] / "warehouse" / "sql").glob("*.sql")}
PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}


def average(features, value, low, high, **values):
    values = {"statistic": "mean_r2", "evaluation": "evaluate-1", "operator": "ridge-2-4"} | values
    return row(
        "feature_transport_averages", **PAIR, features=features, value=value, value_low=low, value_high=high, **values
    )


def transport(feature_id, r2, *, low=None, high=None, verdict="undetermined", operator="ridge-2-4", **values):
    values = {"evaluation": "evaluate-1", **PAIR, **values}
    return row(
        "feature_transport",
        operator=operator,
        feature_id=feature_id,
        r2=r2,
        r2_low=low,
        r2_high=high,
        verdict=verdict,
        sae_trusted=True,
        **values,
    )


def operator(name="ridge-2-4", **values):
    return row("operators", operator=name, **{**PAIR, **values})


def efficiency(rank, value, **values):
    return row(
        "efficiency", **{"evaluation": "evaluate-1", **PAIR, "rank": rank, "d_kept": 8, "efficiency": value, **values}
    )


def test_there_are_marts():
    assert len(MARTS) >= 15


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A connection to a warehouse without any rows, for all marts."""
    return connect(tmp_path_factory.mktemp("empty"), must_exist=False)


@pytest.mark.parametrize("mart", sorted(MARTS))
def test_every_mart_opens_with_its_meaning_and_is_empty_with_columns_on_an_empty_warehouse(mart, empty):
    assert MARTS[mart].read_text(encoding="utf-8").startswith("-- ")
    relation = empty.sql(f"from {mart}")
    assert len(relation.columns) > 2
    assert relation.fetchall() == []


def test_transport_map_averages_scored_features_and_counts_the_others(tmp_path):
    warehouse = warehouse_of(
        tmp_path,
        operators=[operator(rank=6)],
        feature_transport=[
            transport(0, None, ceiling=0.1, skill=0.9),
            transport(1, 0.9, verdict="transported", ceiling=0.95, skill=0.5),
            transport(2, 0.8, verdict="transported", ceiling=0.85, skill=0.3),
            transport(3, 0.1, verdict="computed", ceiling=0.3, skill=-0.2),
            transport(4, 0.2, ceiling=0.5, skill=None),
        ],
    )
    (found,) = rows(warehouse, "from transport_map")
    assert (found["n_features"], found["n_features_scored"], found["n_features_not_scored"]) == (5, 4, 1)
    assert found["mean_r2"] == pytest.approx(0.5)
    assert found["median_r2"] == pytest.approx(0.5)
    assert found["mean_skill"] == pytest.approx(0.2)
    assert found["mean_ceiling"] == pytest.approx(0.65)
    assert (found["share_transported"], found["share_computed"], found["share_undetermined"]) == (0.5, 0.25, 0.25)
    assert found["sae_trusted"]
    assert (found["rank"], found["position_policy"]) == (6, "same")


def test_transport_map_says_which_share_of_the_verdicts_is_expected_to_be_wrong(tmp_path):
    features = [
        transport(0, 0.95, verdict="transported", q_transported=0.001, q_computed=1.0),
        transport(1, 0.85, verdict="transported", q_transported=0.03, q_computed=1.0),
        transport(2, 0.5, q_transported=0.6, q_computed=0.9),
    ]
    (found,) = rows(warehouse_of(tmp_path, operators=[operator()], feature_transport=features), "from transport_map")
    assert (found["expected_wrong_transported"], found["expected_wrong_computed"]) == (0.03, None)


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
        ("ridge", 1),
        ("rrr", 2),
        ("identity", 3),
        ("mean", 4),
        ("ridge", 1),
    ]
    assert found[0]["r2_over_identity"] == pytest.approx(0.2)
    assert (found[0]["r2_test_identity"], found[0]["r2_test_mean"]) == (0.6, -0.01)
    assert [f["beats_identity"] for f in found] == [True, False, None, None, None], "the last pair has no identity"
    assert found[4]["r2_test_identity"] is None


@pytest.mark.parametrize("method", BASELINES)
def test_a_baseline_neither_beats_the_identity_nor_fails_to(method, tmp_path):
    found = rows(
        warehouse_of(
            tmp_path,
            operators=[
                operator("identity-2-4", method="identity", r2_test=0.6, r2_test_low=0.5),
                operator("other-2-4", method=method, r2_test=0.7, r2_test_low=0.65),
            ],
        ),
        "select beats_identity from operator_leaderboard",
    )
    assert [f["beats_identity"] for f in found] == [None, None]


def test_transport_minus_a_rival_stands_beside_the_rivals_cost(tmp_path):
    def difference(rival, value, position_set="5", **values):
        low, high = value - 0.01, value + 0.01
        own = {"rival": rival, "position_set": position_set, "p": 0.03, "evaluation": "evaluate-1"}
        return row(
            "causal_differences", difference=value, difference_low=low, difference_high=high, **PAIR, **own | values
        )

    effects = [
        effect(name, "5", cost, **PAIR, evaluation="evaluate-1")
        for name, cost in (("transport", 0.1), ("identity", 0.15))
    ]
    effects.append(effect("zero", "5", 0.105, **PAIR, evaluation="evaluate-1"))
    tables = {
        "causal_effects": effects,
        "causal_differences": [
            difference("identity", -0.05),
            difference("zero", -0.005),
            difference("mean", -0.2, "all"),
        ],
    }
    found = {f["intervention"]: f for f in rows(warehouse_of(tmp_path, **tables), "from causal_summary")}
    assert {name: f["difference"] for name, f in found.items()} == {
        "transport": None,
        "identity": -0.05,
        "zero": -0.005,
    }
    assert {name: f["difference_excludes_zero"] for name, f in found.items()} == {
        "transport": None,
        "identity": True,
        "zero": False,
    }
    assert found["identity"]["difference_p"] == 0.03


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

    verdicts = {1: ("transported", 0.9), 2: ("transported", 0.8), 3: ("computed", 0.1), 4: ("transported", 0.75)}
    warehouse = warehouse_of(
        tmp_path,
        operators=[
            *(operator(f"ridge-{leap}", r2_val=0.5, **pair(leap)) for leap in verdicts),
            operator("ridge-1-worse", r2_val=0.4, **pair(1)),
        ],
        feature_transport=[
            *(transport(7, r2, verdict=v, operator=f"ridge-{k}", **pair(k)) for k, (v, r2) in verdicts.items()),
            transport(7, 0.2, verdict="computed", operator="ridge-1-worse", **pair(1)),
            transport(9, None, operator="ridge-1", **pair(1)),
        ],
    )
    found = rows(warehouse, "from feature_profile where feature_id = 7")
    assert [f["operator"] for f in found] == ["ridge-1", "ridge-2", "ridge-3", "ridge-4"]
    assert [f["transported_so_far"] for f in found] == [True, True, False, False]
    assert [f["r2_change"] for f in found] == pytest.approx([None, -0.1, -0.7, 0.65])
    assert {(f["transported_from"], f["transported_leap"], f["stops_at_leap"], f["stops_as"]) for f in found} == {
        (6, 2, 3, "computed")
    }
    (unscored,) = rows(warehouse, "from feature_profile where feature_id = 9")
    assert (unscored["transported_from"], unscored["stops_at_leap"], unscored["stops_as"]) == (None, 1, "undetermined")


def test_stage_overview_adds_up_the_manifests(tmp_path):
    warehouse = build(tmp_path)
    commit_stage(warehouse, "saes", [], key="saes-2", quality="failed")
    found = {f["stage"]: f for f in rows(warehouse, "from stage_overview")}
    stages = ["collect", "saes", "features", "feature_scores", "explain", "operators", "evaluate", "causal"]
    assert list(found) == stages
    assert (found["saes"]["n_keys"], found["saes"]["n_failed"], found["saes"]["seconds"]) == (2, 1, 4.0)
    # One collection, four sequences, two layers of twelve activations, two rows of attention, in five files.
    assert (found["collect"]["rows"], found["collect"]["n_files"], found["collect"]["last_key"]) == (31, 5, "collect-1")


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


def scores(feature_id, **values):
    values = {"scoring": "features-1", "layer": 4, "selected": False, **values}
    return row("feature_scores", feature_id=feature_id, **values)


def write_twice(root, table, old, new):
    """A warehouse whose rows of a table come from two runs, the second of them later."""
    warehouse = Warehouse(root)
    files = [
        warehouse.write_rows(table, rows_, part, collection=COLLECTION) for part, rows_ in (("a", old), ("b", new))
    ]
    commit_stage(warehouse, "operators", files[:1])
    commit_stage(warehouse, "evaluate", files[1:])
    return warehouse


def test_the_latest_evaluation_is_the_one_that_started_last_for_each_thing_that_is_judged(tmp_path):
    old = [efficiency(8, 0.1, evaluation="operators-1"), efficiency(8, 0.1, evaluation="operators-1", target_layer=6)]
    new = [efficiency(8, 0.5), efficiency(8, 0.4, position_policy="previous")]
    warehouse = write_twice(tmp_path, "efficiency", old, new)
    found = rows(
        warehouse, "select target_layer, position_policy, evaluation, is_latest from latest_evaluations order by all"
    )
    assert [tuple(f.values()) for f in found] == [
        (4, "previous", "evaluate-1", True),
        (4, "same", "evaluate-1", True),
        (4, "same", "operators-1", False),
        (6, "same", "operators-1", True),
    ]


def test_an_evaluation_without_a_manifest_is_older_than_any_other(tmp_path):
    warehouse = warehouse_of(
        tmp_path, scaling=[row("scaling", evaluation=e, **PAIR, fraction_asked=1.0) for e in ("evaluate-1", "unknown")]
    )
    found = rows(warehouse, "select evaluation, evaluated_at is null as unknown, is_latest from latest_evaluations")
    assert sorted(tuple(f.values()) for f in found) == [("evaluate-1", False, True), ("unknown", True, False)]


def test_transport_map_averages_the_selected_features_apart_and_never_mixes_position_policies(tmp_path):
    warehouse = warehouse_of(
        tmp_path,
        operators=[operator(), operator("ridge-previous", position_policy="previous")],
        feature_transport=[
            transport(0, None),
            transport(1, 0.9, low=0.8, high=1.0),
            transport(2, 0.3, low=0.2, high=0.4),
            transport(1, 0.1, operator="ridge-previous", position_policy="previous"),
        ],
        feature_scores=[scores(0, selected=True), scores(1, selected=True), scores(2)],
        feature_transport_averages=[
            average("all", 0.6, 0.55, 0.64, n_features=2),
            average("all", 0.5, 0.2, 0.7, n_features=2, statistic="share_transported"),
            average("selected", 0.9, 0.85, 0.93, n_features=1),
        ],
    )
    same, other = rows(warehouse, "from transport_map order by position_policy desc")
    assert (same["n_features_selected"], same["mean_r2_selected"]) == (1, 0.9)
    assert (same["mean_r2_selected_low"], same["mean_r2_selected_high"]) == (0.85, 0.93)
    assert same["mean_r2"] == pytest.approx(0.6)
    assert (same["mean_r2_low"], same["mean_r2_high"]) == (0.55, 0.64)  # not the average of the limits, 0.5 to 0.7
    assert (same["share_transported_low"], same["share_transported_high"]) == (0.2, 0.7)
    assert (other["mean_r2_low"], other["share_transported_low"]) == (None, None)
    assert (other["position_policy"], other["mean_r2"]) == ("previous", 0.1)


def test_features_are_selected_by_the_latest_scoring(tmp_path):
    warehouse = Warehouse(tmp_path)
    shared = {
        "operators": [operator()],
        "feature_transport": [transport(1, 0.9), transport(2, 0.3)],
        "feature_transport_averages": [average("selected", 0.9, 0.85, 0.93, n_features=1)],
    }
    commit_stage(warehouse, "evaluate", write(warehouse, shared))
    for stage, chosen in (("features", 1), ("explain", 2)):
        table = [scores(i, scoring=f"{stage}-1", selected=i == chosen) for i in (1, 2)]
        file = warehouse.write_rows("feature_scores", table, stage, collection=COLLECTION, sae=SAE)
        commit_stage(warehouse, stage, [file])
    (found,) = rows(warehouse, "from transport_map")
    assert (found["n_features_selected"], found["mean_r2_selected"]) == (1, 0.3)
    assert found["mean_r2_selected_low"] is None  # the stored average is over the features selected before
    assert rows(warehouse, "select feature_id from feature_catalog where selected") == [{"feature_id": 2}]


def test_feature_depth_gives_the_distribution_of_all_scored_and_of_the_selected_features(tmp_path):
    values = [0.1, 0.2, 0.3, 0.4, 0.9]
    warehouse = warehouse_of(
        tmp_path,
        operators=[operator(r2_val=0.5), operator("ridge-worse", r2_val=0.4)],
        feature_transport=[
            *(transport(i, r2, low=r2 - 0.1, high=r2 + 0.1, n_active=10) for i, r2 in enumerate(values)),
            transport(5, None),
            transport(0, -1.0, operator="ridge-worse"),
        ],
        feature_scores=[scores(i, selected=i >= 3) for i in range(6)],
        feature_transport_averages=[average("all", 0.38, 0.33, 0.42, n_features=5)],
    )
    everything, selected = rows(warehouse, "from feature_depth order by features")
    assert (everything["features"], everything["operator"], everything["n_features"]) == ("all", "ridge-2-4", 5)
    assert everything["n_active"] == 50
    assert everything["mean_r2"] == pytest.approx(0.38)
    assert (everything["mean_r2_low"], everything["mean_r2_high"]) == (0.33, 0.42)
    quantiles = [everything[f"r2_q{q}"] for q in ("05", "25", "50", "75", "95")]
    assert quantiles == pytest.approx([0.12, 0.2, 0.3, 0.4, 0.8])
    assert (selected["n_features"], selected["mean_r2"]) == (2, pytest.approx(0.65))


def test_efficiency_curves_show_the_bracket_and_what_lies_above_chance(tmp_path):
    curve = [efficiency(4, 0.75, r2_rrr=0.6, ceiling_held_out=0.8, ceiling_in_sample=1.0, ceiling_null=0.25)]
    (found,) = rows(warehouse_of(tmp_path, efficiency=curve), "from efficiency_curves")
    assert (found["efficiency_against_in_sample"], found["efficiency"]) == (0.6, 0.75)
    assert found["ceiling_above_null"] == 0.75


def test_scaling_curves_relate_each_share_to_the_one_before_and_to_all_of_the_data(tmp_path):
    old = [row("scaling", evaluation="operators-1", **PAIR, fraction_asked=1.0, r2=0.1)]
    new = [
        row("scaling", evaluation="evaluate-1", **PAIR, fraction_asked=f, r2=r2)
        for f, r2 in ((0.5, 0.6), (1.0, 0.8), (0.1, None))
    ]
    found = rows(write_twice(tmp_path, "scaling", old, new), "from scaling_curves")
    assert [f["fraction_asked"] for f in found] == [0.1, 0.5, 1.0]
    assert [f["r2_gain"] for f in found] == [None, None, pytest.approx(0.2)]
    assert [f["share_of_full_r2"] for f in found] == [None, pytest.approx(0.75), 1.0]


def test_composition_overview_says_what_is_kept_and_whether_the_loss_is_sure(tmp_path):
    def composed(middle, low):
        return row(
            "compositions",
            evaluation="evaluate-1",
            source_layer=1,
            leap=4,
            target_layer=5,
            middle_layer=middle,
            r2_direct=0.8,
            r2_composed=0.6,
            r2_lost=0.2,
            r2_lost_low=low,
            r2_lost_high=0.3,
        )

    found = rows(
        warehouse_of(tmp_path, compositions=[composed(2, 0.1), composed(3, -0.1)]), "from composition_overview"
    )
    assert [(f["middle_layer"], f["loses_surely"]) for f in found] == [(2, True), (3, False)]
    assert found[0]["share_kept"] == pytest.approx(0.75)


def test_spectra_overview_of_a_rotation_and_of_a_projection(tmp_path):
    def modes(name, values):
        return [
            row(
                "operator_spectra",
                operator=name,
                **PAIR,
                mode=i + 1,
                singular_value=s,
                eigenvalue_real=re,
                eigenvalue_imag=im,
            )
            for i, (s, re, im) in enumerate(values)
        ]

    rotation = modes("rotation", [(2.0, 0.0, 2.0), (2.0, 0.0, -2.0)])
    projection = modes("projection", [(3.0, 3.0, 0.0), (0.0, 0.0, 0.0)])
    tall = modes("tall", [(1.0, None, None)])
    warehouse = warehouse_of(tmp_path, operator_spectra=[*rotation, *projection, *tall])
    found = {f["operator"]: f for f in rows(warehouse, "from spectra_overview")}
    turned, cut = found["rotation"], found["projection"]
    assert (turned["stable_rank"], turned["participation"], turned["spectral_radius"]) == pytest.approx((2, 2, 2))
    assert (turned["entropy_rank"], turned["frobenius_norm"]) == pytest.approx((2, 8**0.5))
    assert (turned["share_complex"], turned["n_growing"], turned["modes_for_90_percent"]) == (1.0, 2, 2)
    assert (cut["stable_rank"], cut["participation"], cut["entropy_rank"]) == pytest.approx((1, 1, 1))
    assert (cut["share_complex"], cut["modes_for_90_percent"]) == (0.0, 1)
    assert (found["tall"]["share_complex"], found["tall"]["spectral_radius"]) == (None, None)


def effect(intervention, positions, delta, **values):
    values = {"evaluation": "evaluate-1", **PAIR, "n_sequences": 4, "n_documents": 2, **values}
    return row(
        "causal_effects",
        intervention=intervention,
        positions=positions,
        log_ppl=3 + delta,
        delta_log_ppl=delta,
        delta_log_ppl_low=delta - 0.1,
        delta_log_ppl_high=delta + 0.1,
        **values,
    )


def test_causal_summary_averages_the_studys_three_sets_and_keeps_the_others_apart(tmp_path):
    sets = {"10,50,70,100,120": 0.1, "11,51,71,101,121": 0.2, "12,52,72,102,122": 0.6, "all": 5.0}
    effects = [effect("zero", positions, delta) for positions, delta in sets.items()]
    warehouse = warehouse_of(tmp_path, causal_effects=[effect("none", "", 0.0), *effects])
    found = {f["position_set"]: f for f in rows(warehouse, "from causal_summary where intervention = 'zero'")}
    assert set(found) == {"study", *sets}
    study = found["study"]
    assert (study["n_sets"], study["n_sequences"], study["log_ppl_none"]) == (3, 4, 3.0)
    assert study["delta_log_ppl"] == pytest.approx(0.3)
    assert (study["delta_log_ppl_low"], study["delta_log_ppl_high"]) == pytest.approx((0.2, 0.4))
    assert found["all"]["delta_log_ppl"] == 5.0


def test_causal_summary_has_no_study_average_of_fewer_than_three_sets(tmp_path):
    effects = [effect("zero", "10,50,70,100,120", 0.1), effect("zero", "11,51,71,101,121", 0.2)]
    found = rows(warehouse_of(tmp_path, causal_effects=effects), "select position_set from causal_summary order by all")
    assert [f["position_set"] for f in found] == ["10,50,70,100,120", "11,51,71,101,121"]


def test_causal_summary_keeps_single_features_apart_from_whole_residuals(tmp_path):
    effects = [effect("zero", "all", 5.0), effect("feature_zero", "active", 0.1, feature_id=7)]
    found = rows(warehouse_of(tmp_path, causal_effects=effects), "from causal_summary order by feature_id nulls first")
    assert [(f["intervention"], f["feature_id"], f["n_sets"]) for f in found] == [
        ("zero", None, 1),
        ("feature_zero", 7, 1),
    ]


def test_feature_catalog_joins_scores_best_explanation_and_verdicts_of_each_leap(tmp_path):
    def explanation(name, **values):
        return row("explanations", layer=4, feature_id=1, explanation_id=name, description=name, **values)

    far = {"source_layer": 1, "leap": 3, "target_layer": 4}
    warehouse = warehouse_of(
        tmp_path,
        operators=[operator(), operator("ridge-1-4", **far)],
        feature_stats=[row("feature_stats", layer=4, feature_id=i, n_active=i, activation_rate=i / 10) for i in (0, 1)],
        feature_scores=[scores(1, selected=True, rank=1, score=0.9, top_tokens=[" a"], top_logits=[1.0])],
        explanations=[
            explanation("doubtful", score=0.9, aligned=False, alignment=0.1),
            explanation("believed", score=0.4, aligned=True, alignment=0.9),
        ],
        feature_transport=[
            transport(1, 0.9, verdict="transported"),
            transport(1, 0.1, verdict="computed", operator="ridge-1-4", **far),
        ],
    )
    found = rows(warehouse, "from feature_catalog")
    assert [f["feature_id"] for f in found] == [1, 0]
    known, unknown = found
    assert (known["explanation"], known["n_explanations"], known["aligned"]) == ("believed", 2, True)
    assert known["verdict_by_leap"] == {2: "transported", 3: "computed"}
    assert (known["transported_leap"], known["stops_at_leap"], known["top_tokens"]) == (2, 3, [" a"])
    assert (unknown["selected"], unknown["score"], unknown["n_explanations"]) == (False, None, 0)
    assert unknown["verdict_by_leap"] is None


def test_explanation_overview_counts_what_is_explained_and_what_is_believed(tmp_path):
    (found,) = rows(build(tmp_path), "from explanation_overview")
    assert (found["n_features"], found["n_explained"], found["n_selected"], found["n_selected_explained"]) == (
        3,
        1,
        1,
        1,
    )
    assert (found["n_checked"], found["n_aligned"], found["mean_alignment"]) == (1, 1, 1.0)


def measured(number, ours, ratio=None, **values):
    """A figure of the benchmark run of that number."""
    values = {"benchmark": "fitting", "what": "a pair", "unit": "s", "machine": '{"cpu": "x", "cores": 2}', **values}
    moment = STARTED + timedelta(days=number)
    return row("benchmark_results", run=f"fitting-{number}", ours=ours, ratio=ratio, measured_at=moment, **values)


def write_benchmarks(root, figures):
    """A warehouse in which each figure was committed as benchmarks commit theirs."""
    warehouse = Warehouse(root)
    for figure in figures:
        file = warehouse.write_rows("benchmark_results", [figure], figure["run"], benchmark=figure["benchmark"])
        commit(
            warehouse,
            "benchmark",
            figure["run"],
            collection="benchmarks",
            settings={},
            files=[file],
            started_at=figure["measured_at"],
            seconds=1.0,
        )
    return warehouse


def test_benchmark_trend_sets_the_latest_figure_beside_the_one_before_and_the_first(tmp_path):
    peer = {"against": "a peer", "target": 25.0, "bound": "at least"}
    runs = [measured(2, 1.5, 30.0, met=True, **peer), measured(0, 4.0, 10.0, met=False, **peer)]
    runs.append(measured(1, 2.0, 20.0, met=False, **peer))
    (found,) = rows(write_benchmarks(tmp_path, runs), "from benchmark_trend")
    assert (found["n_runs"], found["ours"], found["ratio"], found["met"]) == (3, 1.5, 30.0, True)
    assert (found["measured_at"], found["measured_before"]) == (runs[0]["measured_at"], runs[2]["measured_at"])
    assert (found["figure_before"], found["figure_first"]) == (20.0, 10.0)
    assert (found["change"], found["change_since_first"]) == pytest.approx((0.5, 2.0))


def test_benchmark_trend_compares_only_equal_sizes_on_one_machine_and_takes_ours_where_there_is_no_ratio(tmp_path):
    elsewhere = '{"cpu": "y", "cores": 2, "gpu": "z"}'
    runs = [
        measured(0, 4.0),
        measured(1, 3.0),
        measured(2, 1.0, quick=True),
        measured(3, 0.5, machine=elsewhere),
        measured(4, 9.0, unit="MiB"),
    ]
    found = rows(write_benchmarks(tmp_path, runs), "from benchmark_trend")
    assert [(f["quick"], f["hardware"], f["unit"], f["ours"]) for f in found] == [
        (False, "x, 2 cores", "MiB", 9.0),
        (False, "x, 2 cores", "s", 3.0),
        (False, "y, 2 cores, z", "s", 0.5),
        (True, "x, 2 cores", "s", 1.0),
    ]
    assert [f["change"] for f in found] == [None, -0.25, None, None]


def test_runs_of_benchmarks_pass_all_checks_and_are_no_collection(tmp_path):
    warehouse = write_benchmarks(tmp_path, [measured(0, 4.0), measured(1, 3.0)])
    assert failures(check_all(warehouse)) == []
    assert rows(warehouse, "from collection_overview") == []
    (found,) = rows(warehouse, "from stage_overview")
    assert (found["stage"], found["n_keys"], found["rows"]) == ("benchmark", 2, 2)
