"""The marts of SAE studies, on planted rows: the latest complete study alone, and findings only beyond the spread over seeds."""

import re
from pathlib import Path

import numpy as np
import pytest

import warehouse
from ato.sae_studies.metrics import METRICS
from tests.warehouse.sae_study_rows import (
    AGREEMENT,
    BASELINES,
    D_SAE,
    EMERGED,
    FVU,
    LOADED,
    LOOKED_AT,
    SAES,
    SEED_STEP,
    Planted,
    commit_study,
    membership,
    quality,
    study_rows,
    write_sae_study,
)
from tests.warehouse.small_warehouse import SAE, build, row
from warehouse.catalog.catalog import connect, rows
from warehouse.quality.checks import check_stages, failures
from warehouse.storage.manifests import manifests_and_damage
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The small warehouse with the study; nobody writes to it."""
    warehouse = build(tmp_path_factory.mktemp("sae_study"))
    write_sae_study(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def planted(root):
    """The rows that a statement gives on it, over one connection."""
    with connect(root) as connection:
        yield lambda sql: connection.sql(sql).to_arrow_table().to_pylist()


def kind(planted, metric, architecture, k=4):
    """What the mart says of a kind of SAE."""
    (found,) = planted(
        f"from sae_frontier where metric = '{metric}' and architecture = '{architecture}' and k = {k} and layer = 4"
    )
    return found


def test_planted_rows_pass_all_checks(root):
    (study,) = (run for run in manifests_and_damage(root)[0] if run.stage == "sae_study")
    assert failures(check_stages(root, [(study.stage, study.key)], study.collection, study.files)) == []


def test_the_latest_complete_study_is_the_one_that_is_shown(tmp_path):
    warehouse = Warehouse(tmp_path)
    tables = {name: found for name, found in study_rows("old").items() if name in ("studied_saes", "sae_quality")}
    of_first = [found for found in tables["sae_quality"] if found["sae"] == SAES[0].sae]

    def shown():
        found = rows(
            warehouse, "select study, is_complete, n_saes, n_judged, count(*) as n from latest_sae_study group by all"
        )
        return [tuple(f.values()) for f in found]

    commit_study(warehouse, "old", tables | {"sae_quality": of_first, "sae_studies": membership("old", SAES[:2])}, 1)
    assert shown() == [("old", False, 2, 1, 2)], "of an incomplete one what there is"
    commit_study(warehouse, "small", {"sae_studies": membership("small", SAES[:1])}, 2)
    assert shown() == [("small", True, 1, 1, 1)]
    commit_study(warehouse, "begun", {"sae_studies": membership("begun", SAES[:3])}, 3)
    assert shown() == [("small", True, 1, 1, 1)], "a later one is not complete"
    commit_study(warehouse, "later", {"sae_studies": membership("later", SAES[:2]), "sae_quality": quality(SAES[1])}, 4)
    assert shown() == [("later", True, 2, 2, 2)]
    assert [f["study"] for f in rows(warehouse, "select distinct study from sae_comparison")] == ["later"]


def test_every_sae_is_one_row_with_its_metrics_intervals_and_null_where_not_measured(planted):
    found = {f["sae"]: f for f in planted("from sae_comparison")}
    assert len(found) == len(SAES)
    for own in SAES:
        f = found[own.sae]
        assert (f["fvu"], f["fvu_low"]) == pytest.approx((own.fvu, own.fvu - 0.02))
        assert (f["l0"], f["n_tokens"], f["n_documents"]) == (own.l0, 1000, 20)
        assert f["absorption_fraction"] is None
        assert (f["attribution_rank_agreement"] is not None) == own.looked_at
    assert found[Planted("topk", 4, 1).sae]["matched_cosine"] == AGREEMENT["topk"], "of either SAE of the pair"
    assert found[Planted("topk", 8, 0).sae]["matched_cosine"] is None


def test_agreement_is_that_with_the_seeds_of_the_same_study_and_each_pair_counts_once(tmp_path):
    warehouse = Warehouse(tmp_path)
    first, second, third = (row("studied_saes", sae=name, seed=i, k=4) for i, name in enumerate("abc"))
    values = [("s", "a", "b", 0.8), ("s", "b", "a", 0.6), ("s", "c", "a", 0.3), ("other", "a", "b", 0.1)]
    agreement = [
        row("sae_agreement", study=study, sae=sae, other_sae=other, mean_cosine=value)
        for study, sae, other, value in values
    ]
    studies = [
        row("sae_studies", study=study, sae=sae) for study, saes in (("s", "abc"), ("other", "ab")) for sae in saes
    ]
    tables = {"studied_saes": [first, second, third], "sae_studies": studies, "sae_agreement": agreement}
    metrics = [row("sae_quality", sae=sae, metric=m, value=0.5) for sae in "abc" for m in ("fvu", "matched_cosine")]
    commit_study(warehouse, "s", tables | {"sae_quality": metrics})
    found = rows(warehouse, "select sae, value, n from sae_metrics where metric = 'matched_cosine' order by sae")
    assert [(f["sae"], f["n"]) for f in found] == [("a", 2), ("b", 1), ("c", 1)]
    assert [f["value"] for f in found] == pytest.approx([(0.7 + 0.3) / 2, 0.7, 0.3])


def test_a_difference_larger_than_the_spread_over_seeds_is_told_from_a_smaller_one(planted):
    best, second, last = (kind(planted, "fvu", name) for name in FVU)
    assert [f["place"] for f in (best, second, last)] == [1, 2, 3]
    assert (best["n_seeds"], best["mean"]) == (2, pytest.approx(FVU["batchtopk"]))
    assert best["sd"] == pytest.approx(SEED_STEP / 2**0.5), "two values: their distance over the root of 2"
    assert (best["min"], best["max"]) == pytest.approx((0.245, 0.255))
    assert (best["next_architecture"], best["difference"]) == ("topk", pytest.approx(-0.05))
    assert best["spread"] == pytest.approx(SEED_STEP), "the root of the sum of two squares of SEED_STEP / sqrt(2)"
    assert (best["exceeds_spread"], best["at_equal_l0"]) == (True, True)
    assert (second["next_architecture"], second["difference"]) == ("jumprelu", pytest.approx(-0.004))
    assert (second["exceeds_spread"], second["at_equal_l0"]) == (False, False)
    assert (last["next_architecture"], last["exceeds_spread"]) == (None, None)


def test_metrics_of_which_more_is_better_are_ranked_the_other_way(planted):
    assert kind(planted, "ce_recovered", "batchtopk")["place"] == 1
    assert kind(planted, "matched_cosine", "topk")["place"] == 1
    assert kind(planted, "l0", "batchtopk")["place"] is None, "L0 is what is paid"
    assert kind(planted, "absorption_fraction", "topk")["mean"] is None
    assert kind(planted, "absorption_fraction", "topk")["next_architecture"] is None


def test_one_seed_says_nothing_of_the_spread(planted):
    single = kind(planted, "fvu", "batchtopk", k=8)
    assert (single["n_seeds"], single["sd"], single["spread"], single["exceeds_spread"]) == (1, None, None, None)
    assert single["difference"] == pytest.approx(-0.05)


def test_the_best_baseline_at_equal_layer_and_k_stands_beside_each_kind(planted):
    best = kind(planted, "fvu", "batchtopk")
    assert (best["best_baseline"], best["baseline_mean"]) == ("pca", 0.45)
    assert (best["baseline_difference"], best["beats_baselines"]) == (pytest.approx(-0.2), True)
    assert (best["baseline_at_equal_l0"], kind(planted, "fvu", "jumprelu")["baseline_at_equal_l0"]) == (True, False)
    assert kind(planted, "fvu", "batchtopk", k=8)["beats_baselines"] is None, "one seed"
    assert kind(planted, "fvu", "pca")["best_baseline"] is None
    (loaded,) = planted(f"from sae_frontier where metric = 'fvu' and source = '{LOADED.source}'")
    assert (loaded["place"], loaded["mean"], loaded["best_baseline"]) == (None, LOADED.fvu, None), "its k is unknown"


def test_a_baseline_that_is_as_good_is_not_beaten(tmp_path):
    warehouse = Warehouse(tmp_path)
    saes = [row("studied_saes", sae=f"s{i}", architecture="topk", k=4, seed=i, source="trained") for i in (0, 1)]
    saes.append(row("studied_saes", sae="pca", architecture="pca", k=4, source="baseline"))
    values = {"s0": 0.40, "s1": 0.42, "pca": 0.42}
    tables = {
        "studied_saes": saes,
        "sae_studies": [row("sae_studies", study="s", sae=sae) for sae in values],
        "sae_quality": [row("sae_quality", sae=sae, metric="fvu", value=value) for sae, value in values.items()],
    }
    commit_study(warehouse, "s", tables)
    (found,) = rows(warehouse, "from sae_frontier where not is_baseline")
    assert (found["baseline_difference"], found["baseline_spread"]) == pytest.approx((-0.01, 0.02 / 2**0.5))
    assert found["beats_baselines"] is False


def test_shrinkage_is_best_nearest_to_one(tmp_path):
    warehouse = Warehouse(tmp_path)
    values = {"a": 1.05, "b": 0.98, "c": 1.2}
    tables = {
        "studied_saes": [
            row("studied_saes", sae=sae, architecture=sae, k=4, seed=0, source="trained") for sae in values
        ],
        "sae_studies": [row("sae_studies", study="s", sae=sae) for sae in values],
        "sae_quality": [row("sae_quality", sae=sae, metric="shrinkage", value=value) for sae, value in values.items()],
    }
    commit_study(warehouse, "s", tables)
    found = rows(warehouse, "select architecture from sae_frontier order by place")
    assert [f["architecture"] for f in found] == ["b", "a", "c"]


def test_probing_is_averaged_over_the_classes_that_could_be_scored(planted):
    (found,) = planted(
        f"from sae_probing_summary where sae = '{SAES[0].sae}' and reader = 'best' and k = 1 and stratum = 'topic'"
    )
    assert (found["n_classes"], found["n_scored"], found["n_test"]) == (3, 2, 27)
    assert (found["auroc"], found["auroc_worst"], found["auroc_best"]) == pytest.approx((0.775, 0.75, 0.8))


def test_the_curve_of_emergence_counts_features_by_snapshot(planted):
    found = planted(f"from emergence_curve where sae = '{LOOKED_AT[0].sae}' order by step")
    assert [f["n_emerged"] for f in found] == list(EMERGED.values())
    assert [f["n_born"] for f in found] == [D_SAE - 1, 0, 0]
    assert [f["n_died"] for f in found] == [0, 0, 1]
    assert [f["emerged_share"] for f in found] == pytest.approx([2 / 12, 6 / 12, 1])


def test_features_that_were_not_followed_have_no_counts(tmp_path):
    warehouse = Warehouse(tmp_path)
    tables = {name: study_rows("s")[name] for name in ("studied_saes", "sae_studies", "sae_snapshots")}
    commit_study(warehouse, "s", tables)
    found = rows(warehouse, "select distinct n_features, n_emerged, n_born, n_died from emergence_curve")
    assert [tuple(f.values()) for f in found] == [(None, None, None, None)]


def test_fates_of_features_are_counted(planted):
    (found,) = planted(f"from emergence_summary where sae = '{LOOKED_AT[0].sae}'")
    assert (found["n_features"], found["n_never_born"], found["n_died"]) == (12, 1, 1)
    assert (found["n_split"], found["n_split_sources"]) == (2, 1)
    assert found["median_emerged_step"] == 25, "six up to 10, six at 40"
    assert found["median_emerged_tokens"] == 2500
    assert found["mean_drift"] == pytest.approx((4 * 0.1 + 3 * 0.2) / 11)
    assert (found["mean_entropy_change"], found["n_entropy_change"]) == (-0.5, 11)
    assert found["mean_stratum_entropy"] is None


def test_clusters_have_their_shared_tokens_and_noise_is_a_row_of_its_own(planted):
    found = planted(f"from feature_cluster_overview where sae = '{LOOKED_AT[0].sae}' order by cluster nulls last")
    assert [(f["cluster"], f["n_features"], f["stable"]) for f in found] == [
        (0, 5, True),
        (1, 4, False),
        (None, 3, None),
    ]
    assert found[0]["tokens"][:2] == [" t0", " t1"], "0 and 3, 1 and 4"
    assert found[0]["features"] == [4, 3, 2, 1, 0], "by largest activation"


def test_families_count_features_that_only_the_cosine_calls_alike(planted):
    found = planted(f"from feature_family_overview where sae = '{LOOKED_AT[0].sae}'")
    (found,) = found
    assert (found["n_features"], found["alike_by_cosine"], found["active_together"]) == (12, 6, 2)
    assert (found["source_layer"], found["median_transport_cosine"]) == (2, None)


def test_baselines_are_told_from_saes_and_other_saes_have_no_part_in_a_study(planted):
    found = planted("select sae, is_baseline from latest_sae_study")
    assert {f["sae"] for f in found if f["is_baseline"]} == {own.sae for own in BASELINES}
    assert SAE not in {f["sae"] for f in found}


def test_which_way_a_metric_is_better_is_what_the_registry_of_metrics_says():
    text = (Path(warehouse.__file__).parent / "sql" / "sae_frontier.sql").read_text(encoding="utf-8")
    stated = dict(re.findall(r"\('(\w+)', '(lower|higher|nearest to 1)'\)", text))
    ways = {"less": "lower", "more": "higher", "one": "nearest to 1"}
    assert len(stated) > 10
    assert stated == {name: ways[METRICS[name.rstrip("_0123456789")].better] for name in stated}


def test_a_spread_and_what_exceeds_it_are_those_of_numpy(planted):
    values: dict[tuple, list[float]] = {}
    for one in planted("select architecture, k, d_sae, layer, fvu from sae_comparison where source = 'trained'"):
        values.setdefault((one["architecture"], one["k"], one["d_sae"], one["layer"]), []).append(one["fvu"])
    compared = planted("from sae_frontier where metric = 'fvu' and next_architecture is not null")
    assert compared
    for one in compared:
        kind, rival = (
            (one[name], one["k"], one["d_sae"], one["layer"]) for name in ("architecture", "next_architecture")
        )
        difference = np.mean(values[kind]) - np.mean(values[rival])
        assert one["difference"] == pytest.approx(difference)
        if min(len(values[kind]), len(values[rival])) < 2:
            assert (one["spread"], one["exceeds_spread"]) == (None, None)
        else:
            spread = np.hypot(np.std(values[kind], ddof=1), np.std(values[rival], ddof=1))
            assert one["spread"] == pytest.approx(spread)
            assert one["exceeds_spread"] is bool(abs(difference) > spread)
