"""The mart of findings: each number is the planted one, with its interval and n; a finding is absent where its tables are empty."""

from datetime import timedelta

import pytest

from tests.dashboards.whole_study import build_whole_study
from tests.tasks.reported_study import COST, N_FEATURES, PAIRS, mean_r2
from tests.warehouse.compare_rows import GONE
from tests.warehouse.compare_rows import N_FEATURES as N_COMPARED
from tests.warehouse.entity_rows import BEST_AUROC
from tests.warehouse.graph_rows import FACTORS
from tests.warehouse.label_rows import FEATURES, UNDESCRIBED
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, commit_stage, row, write
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Finding -> its rows, of a study in which everything was looked at."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("whole") / "warehouse")
    groups = {}
    for number in rows(warehouse, "from findings"):
        groups.setdefault(number["finding"], []).append(number)
    return groups


def only(group, **values):
    """The only row with these values."""
    (one,) = [number for number in group if all(number[name] == value for name, value in values.items())]
    return one


def with_interval(number):
    return number["value"], number["low"], number["high"]


def test_a_study_has_all_findings_in_the_order_of_the_page(found):
    assert [*found] == [
        "features_by_leap",
        "feature_verdicts",
        "features_over_identity",
        "replacement_cost",
        "direct_or_composed",
        "feature_fates",
        "sae_quality",
        "sae_architectures",
        "entity_knowledge",
        "descriptions",
        "graph_transport",
        "other_models",
    ]
    assert all(any(number["is_headline"] for number in group) for group in found.values())


def test_features_travel_as_far_as_planted_and_the_sentence_is_about_the_target_with_most_leaps(found):
    group = found["features_by_leap"]
    near = only(group, source_layer=3, target_layer=4)
    assert near["value"] == pytest.approx(mean_r2(3, 4))
    assert (near["low"], near["high"]) == pytest.approx((mean_r2(3, 4) - 0.005, mean_r2(3, 4) + 0.005))
    assert (near["n"], near["unit"]) == (N_FEATURES, "features")
    assert {(n["source_layer"], n["target_layer"]) for n in group} == set(PAIRS)
    assert [(n["source_layer"], n["target_layer"]) for n in group if n["is_headline"]] == [(1, 6), (5, 6)]


def test_limits_that_belong_to_fewer_features_are_not_taken(found):
    """The SAE at layer 6 has one more scored feature than its averages were made of."""
    far = only(found["features_by_leap"], source_layer=1, target_layer=6)
    assert far["n"] == N_FEATURES + 1
    assert (far["low"], far["high"]) == (None, None)


def test_shares_of_verdicts_are_those_of_the_longest_leap_with_interval_and_threshold(tmp_path):
    warehouse = Warehouse(tmp_path)
    verdicts = ("transported",) * 4 + ("computed",) * 3 + ("undetermined",) * 3
    own = {"evaluation": "evaluate-1", "operator": "ridge-2-4", **PAIR}
    features = [
        row("feature_transport", **own, feature_id=f, r2=0.5, verdict=verdict, sae_trusted=True)
        for f, verdict in enumerate(verdicts)
    ]
    features.append(row("feature_transport", **own, feature_id=10, r2=None, verdict="undetermined"))
    averages = [
        row(
            "feature_transport_averages",
            **own,
            features="all",
            statistic=f"share_{name}",
            n_features=10,
            value=share,
            value_low=share - 0.1,
            value_high=share + 0.1,
        )
        for name, share in (("transported", 0.4), ("computed", 0.3), ("undetermined", 0.3))
    ]
    tables = {
        **collect_rows(),
        "operators": [row("operators", operator="ridge-2-4", **PAIR)],
        "feature_transport": features,
        "feature_transport_averages": averages,
    }
    commit(
        warehouse,
        "evaluate",
        "evaluate-1",
        collection=COLLECTION,
        settings={"transported_above": 0.75, "computed_below": 0.25},
        files=write(warehouse, tables),
        started_at=STARTED,
        seconds=1.0,
    )
    group = [n for n in rows(warehouse, "from findings") if n["finding"] == "feature_verdicts"]
    carried, computed = (only(group, measure=f"share_{name}") for name in ("transported", "computed"))
    assert with_interval(carried) == pytest.approx((0.4, 0.3, 0.5))
    assert with_interval(computed) == pytest.approx((0.3, 0.2, 0.4))
    assert (carried["threshold"], computed["threshold"]) == (0.75, 0.25)
    assert {n["n"] for n in group} == {10}, "features without a score are no features of a share"


def test_the_identity_is_beaten_by_the_planted_paired_difference_in_every_pair(found):
    group = found["features_over_identity"]
    pairs = [n for n in group if n["measure"] == "difference"]
    assert {(n["source_layer"], n["target_layer"]): with_interval(n) for n in pairs} == {
        pair: pytest.approx((0.2, 0.17, 0.23)) for pair in PAIRS
    }
    assert (only(group, measure="n_above")["value"], only(group, measure="n_below")["value"]) == (len(PAIRS), 0)
    assert only(group, measure="n_above")["n"] == len(PAIRS)


def test_residuals_are_held_against_the_identity_by_skill_with_worse_pairs_counted(tmp_path):
    warehouse = Warehouse(tmp_path)
    skills = {2: (0.4, 0.3, 0.5), 1: (-0.2, -0.3, -0.1), 0: (0.0, -0.1, 0.1)}
    operators = [
        row(
            "operators",
            operator=f"ridge-{source}-4",
            source_layer=source,
            leap=4 - source,
            target_layer=4,
            n_test=100,
            skill=skill,
            skill_low=low,
            skill_high=high,
        )
        for source, (skill, low, high) in skills.items()
    ]
    commit_stage(warehouse, "operators", write(warehouse, {"operators": operators}))
    group = rows(warehouse, "from findings")
    assert {n["finding"] for n in group} == {"residuals_over_identity"}
    counts = {n["measure"]: n["value"] for n in group if n["unit"] == "pairs"}
    assert counts == {"n_above": 1, "n_below": 1}
    assert with_interval(only(group, source_layer=1)) == pytest.approx(skills[1])
    assert {n["source_layer"] for n in group if n["is_headline"] and n["measure"] == "skill"} == {1, 2}


def test_what_replacing_costs_is_the_study_average_and_paired_against_the_identity(found):
    group = found["replacement_cost"]
    cost = only(group, measure="added_loss", source_layer=1, target_layer=6)
    assert with_interval(cost) == pytest.approx((COST["transport"], 0.9 * COST["transport"], 1.1 * COST["transport"]))
    assert (cost["subject"], cost["n"], cost["is_headline"]) == ("study", 10, True)
    difference = COST["transport"] - COST["identity"]
    paired = only(group, measure="less_identity", source_layer=1, target_layer=6)
    assert with_interval(paired) == pytest.approx((difference, difference - 0.01, difference + 0.01))
    assert only(group, measure="n_below")["value"] == len(PAIRS)


def test_what_a_middle_layer_loses_is_the_planted_loss(found):
    group = [n for n in found["direct_or_composed"] if n["measure"] == "r2_lost"]
    assert [with_interval(n) for n in group] == [pytest.approx((0.05, 0.02, 0.08))] * 3
    assert {(n["subject"], n["n"], n["unit"]) for n in group} == {("over 4", 400, "tokens")}


def test_fates_are_shares_of_the_linked_pair_without_an_interval(found):
    shares = [n for n in found["feature_fates"] if n["measure"].startswith("share_")]
    assert {(n["source_layer"], n["target_layer"]) for n in shares} == {(4, 6)}
    assert sum(n["value"] for n in shares) == pytest.approx(1)
    assert {(n["n"], n["low"]) for n in shares} == {(N_FEATURES + 1, None)}


def test_quality_of_saes_counts_the_trusted_ones(found):
    group = found["sae_quality"]
    assert (only(group, measure="n_trusted")["value"], only(group, measure="n_trusted")["n"]) == (1, 2)
    assert with_interval(only(group, measure="fvu", target_layer=6)) == pytest.approx((0.2, 0.17, 0.23))


def test_architectures_are_told_with_the_spread_of_seeds(found):
    (head,) = [n for n in found["sae_architectures"] if n["is_headline"]]
    assert head["note"] == "more than the spread of seeds"
    assert head["value"] == pytest.approx((head["low"] + head["high"]) / 2)
    assert head["n"] == 2
    single = [n for n in found["sae_architectures"] if n["low"] is None]
    assert {n["note"] for n in single} <= {"one seed: nothing tells chance from a difference"}


def test_entity_knowledge_is_the_best_feature_of_train_beside_the_best_baseline(found):
    heads = {n["measure"]: n for n in found["entity_knowledge"] if n["is_headline"]}
    assert with_interval(heads["auroc"]) == pytest.approx((BEST_AUROC, BEST_AUROC - 0.03, BEST_AUROC + 0.03))
    assert heads["auroc"]["note"] == "better than every baseline"
    assert heads["baseline_auroc"]["note"] == "probe"
    assert heads["baseline_auroc"]["value"] == pytest.approx(0.9)


def test_descriptions_stand_beside_those_of_other_features(found):
    heads = {n["measure"]: n for n in found["descriptions"] if n["is_headline"]}
    assert heads["detection"]["n"] == len(FEATURES) - 1
    assert UNDESCRIBED in FEATURES
    assert heads["detection_shuffled"]["value"] == pytest.approx(0.5)
    assert heads["detection"]["low"] < heads["detection"]["value"] < heads["detection"]["high"]


def test_plain_transport_of_graphs_is_one_over_the_planted_factor(found):
    shares = {n["subject"]: n["value"] for n in found["graph_transport"]}
    assert shares == {prompt: pytest.approx(1 / factor, abs=0.01) for prompt, factor in FACTORS.items()}


def test_edges_stand_beside_their_ablations_where_these_were_made(tmp_path):
    warehouse = Warehouse(tmp_path)
    graph = row(
        "graphs",
        graph_set="graphs-1",
        prompt="p",
        graph_kind="attribution",
        n_ablated=40,
        pearson=0.9,
        pearson_low=0.8,
        pearson_high=0.95,
        pearson_control=0.1,
    )
    commit_stage(warehouse, "evaluate", write(warehouse, {"graphs": [graph]}))
    group = rows(warehouse, "from findings")
    assert {n["finding"] for n in group} == {"graph_edges"}
    assert with_interval(only(group, measure="pearson")) == pytest.approx((0.9, 0.8, 0.95))
    assert only(group, measure="pearson_control")["value"] == pytest.approx(0.1)
    assert {n["n"] for n in group} == {40}


def test_another_model_differs_by_the_planted_mean(found):
    heads = {n["measure"]: n for n in found["other_models"] if n["is_headline"]}
    mean = GONE * 2 / N_COMPARED
    assert with_interval(heads["mean_difference"]) == pytest.approx((mean, mean - 0.01, mean + 0.01))
    assert heads["mean_difference"]["subject"] == "step-200"
    assert (heads["n_changed"]["value"], heads["n_changed"]["n"]) == (2, N_COMPARED)


def test_innovation_saes_are_compared_at_equal_size_first(tmp_path):
    warehouse = Warehouse(tmp_path)
    plain = {"fewer": 8, "equal": 12}
    studied = [
        row("studied_saes", sae=sae, layer=4, architecture="topk", k=4, seed=0, d_sae=d, source="trained", path="x")
        for sae, d in (("new", 12), *plain.items())
    ]
    compared = [
        row(
            "innovation_comparisons",
            study="study-1",
            sae="new",
            other_sae=other,
            scope="alone",
            metric="fvu",
            layers=[4],
            difference=value,
            difference_low=value - 0.01,
            difference_high=value + 0.01,
            n=30,
            l0=4.0,
            plain_l0=4.0,
            n_parameters=100,
            plain_n_parameters=parameters,
        )
        for other, value, parameters in (("fewer", -0.2, 60), ("equal", -0.05, 100))
    ]
    tables = {
        "studied_saes": studied,
        "sae_studies": [row("sae_studies", study="study-1", sae=sae) for sae in ("new", *plain)],
        "innovation_saes": [row("innovation_saes", sae="new", source_layer=2, target_layer=4)],
        "innovation_comparisons": compared,
    }
    commit(
        warehouse,
        "sae_studies",
        "study-1",
        collection=COLLECTION,
        settings={},
        files=write(warehouse, tables),
        started_at=STARTED + timedelta(hours=1),
        seconds=1.0,
    )
    group = [n for n in rows(warehouse, "from findings") if n["finding"] == "innovation_saes"]
    (one,) = group
    assert with_interval(one) == pytest.approx((-0.05, -0.06, -0.04))
    assert (one["note"], one["n"], one["unit"]) == ("at equal L0 and parameters", 30, "documents")
