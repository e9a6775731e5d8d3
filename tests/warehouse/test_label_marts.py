"""The marts of labels on planted rows: the latest labelling of each judge, its scores, and which labels fail."""

import duckdb
import numpy as np
import pytest
from scipy import optimize, stats

from ato.autointerp.label_order import coverage
from tests.warehouse.label_rows import FEATURES, JUDGES, RIGHT, UNDESCRIBED, WORSE, N, write_labelling
from tests.warehouse.small_warehouse import build, commit_stage, row, write
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.marts import mart_texts
from warehouse.quality.checks import check_stages, failures
from warehouse.storage.manifests import manifests


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The small warehouse with a labelling by two judges; nobody writes to it."""
    warehouse = build(tmp_path_factory.mktemp("labels"))
    write_labelling(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def planted(root):
    """The rows that a statement gives on it, over one connection."""
    with connect(root) as connection:
        yield lambda sql: connection.sql(sql).to_arrow_table().to_pylist()


def test_planted_rows_pass_every_check(root):
    for run in manifests(root):
        if run.stage.startswith("label"):
            assert failures(check_stages(root, [(run.stage, run.key)], run.collection, run.files)) == []


def test_each_judge_has_a_row_a_feature_in_the_order_of_labelling(planted):
    found = planted("select judge, feature_id, place from feature_labelled")
    assert len(found) == len(FEATURES) * len(JUDGES)
    assert [row["place"] for row in found if row["judge"] == JUDGES[0]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("judge", JUDGES)
def test_scores_are_those_of_the_trials_and_what_is_no_better_than_chance_fails(planted, judge):
    found = {row["feature_id"]: row for row in planted("from feature_labelled") if row["judge"] == judge}
    for feature, right in RIGHT.items():
        assert found[feature]["detection"] == pytest.approx(max(0, right - WORSE[judge]) / N)
        assert found[feature]["detection_shuffled"] == pytest.approx(0.5)
        assert found[feature]["failed"] == (found[feature]["detection_low"] <= 0.5)
    assert found[UNDESCRIBED]["failed"]
    assert found[UNDESCRIBED]["reason"].startswith("no example")
    assert found[1]["failed"]
    assert not found[0]["failed"]
    assert found[0]["classes"] == [("category", "language")]


def test_a_call_that_two_labellings_share_costs_once(tmp_path):
    warehouse = build(tmp_path)
    asked = {"call": "c", "judge": "j", "purpose": "detection", "status": "answered", "n_attempts": 2, "cost": 0.5}
    calls = [row("llm_calls", labelling=name, **asked) for name in ("first", "second")]
    calls.append(row("llm_calls", labelling="first", **asked | {"call": "other", "cost": None}))
    commit_stage(warehouse, "explain", write(warehouse, {"llm_calls": calls}))
    (found,) = rows(warehouse, "from judge_costs")
    assert (found["n_calls"], found["n_requests"], found["cost"]) == (2, 4, 0.5)


def test_means_over_features_leave_out_those_without_a_score_and_count_them(planted):
    (row,) = planted(
        "from label_scores where judge = 'overlap' and scorer = 'detection' and tier = 'all' and control = 'none'"
    )
    assert row["n_features"] == len(FEATURES)
    assert row["n_scored"] == len(RIGHT)
    assert row["mean_score"] == pytest.approx(sum(RIGHT.values()) / len(RIGHT) / N)
    assert row["mean_low"] < row["mean_score"] < row["mean_high"]
    assert row["n_at_chance"] == 1
    (intruder,) = planted("from label_scores where judge = 'overlap' and scorer = 'intruder'")
    assert intruder["chance"] == pytest.approx(0.2)


def test_a_later_labelling_of_a_judge_replaces_the_earlier_one(tmp_path):
    warehouse = build(tmp_path)
    write_labelling(warehouse, "1", hour=2)
    later = write_labelling(warehouse, "2", hour=3)
    found = rows(warehouse, "select distinct judge, labelling from feature_labelled order by judge")
    assert {row["judge"]: row["labelling"] for row in found} == later


@pytest.fixture(scope="module")
def intervals_of():
    """Means of scores with their intervals, as the mart computes them: a list of scores -> (mean, low, high) of each."""
    with duckdb.connect() as connection:
        connection.execute(
            """create table description_scores (
                collection text, labelling text, sae text, layer int, judge text, scorer text, tier text, control text,
                measure text, evidence text, score double, score_low double, chance double, sensitivity double,
                specificity double, n_positive bigint, n_negative bigint, n_unanswered bigint, reason text
            );
            create table latest_labellings as select 'c' as collection, 'l' as labelling, true as is_latest;
            create table labelled_features as select 'c' as collection, 'e' as evidence, 'sae' as source"""
        )

        def found(*samples):
            connection.execute("delete from description_scores")
            number = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
            table = {"layer": number, "score": np.concatenate([np.asarray(sample, dtype=float) for sample in samples])}
            connection.register("given", {name: np.ascontiguousarray(column) for name, column in table.items()})
            connection.execute(
                """insert into description_scores by name
                select 'c' as collection, 'l' as labelling, 'e' as evidence, layer, score from given"""
            )
            mart = connection.sql(mart_texts()["label_scores"])
            return [(mean, low, high) for mean, low, high in mart.select("mean_score, mean_low, mean_high").fetchall()]

        yield found


def test_intervals_of_means_solve_the_score_equation_and_stay_in_0_to_1(intervals_of):
    rng = np.random.default_rng(0)
    samples = [rng.beta(*shape, n) for shape in ((9, 1), (0.5, 0.5), (60, 1)) for n in (3, 5, 12, 50, 400)]
    samples += [np.append(np.ones(n), 0.95) for n in (2, 20)]
    for sample, (mean, low, high) in zip(samples, intervals_of(*samples), strict=True):
        n, m = len(sample), np.mean(sample)
        standard_error2 = stats.sem(sample) ** 2
        t2 = stats.t.ppf(0.975, n - 1) ** 2

        def beyond(x, m=m, share=t2 * standard_error2 / (m * (1 - m))):
            return (m - x) ** 2 - share * x * (1 - x)

        assert mean == pytest.approx(m)
        assert low == pytest.approx(optimize.brentq(beyond, 0, m), abs=0.02 * (m - low))
        assert high == pytest.approx(optimize.brentq(beyond, m, 1), abs=0.02 * (high - m))
        assert 0 <= low < mean < high <= 1


def test_intervals_of_means_hold_the_mean_as_often_as_they_say(intervals_of):
    rng = np.random.default_rng(1)
    draws = {"flat": (rng.beta(2, 1, (800, 12)), 2 / 3), "near 1": (rng.beta(9, 1, (800, 30)), 0.9)}
    for name, (samples, truth) in draws.items():
        held = np.mean([low <= truth <= high for _, low, high in intervals_of(*samples)])
        assert 0.93 < held < 0.98, name


def test_scores_without_spread_have_the_interval_of_as_many_draws_and_one_score_has_none(intervals_of):
    perfect, middling, one = intervals_of(np.ones(40), np.full(40, 0.75), [0.8])
    t = stats.t.ppf(0.975, 39)
    assert perfect == pytest.approx((1, 40 / (40 + t**2), 1), abs=1e-4)
    expected = stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert middling == pytest.approx((0.75, expected.low, expected.high), abs=0.01)
    assert one == (0.8, None, None)


@pytest.fixture(scope="module")
def covered(tmp_path_factory):
    """Labels in the order of planted effects, of which one is not known: the sizes of those that are, and the mart."""
    warehouse = build(tmp_path_factory.mktemp("covered"))
    effects = [*np.random.default_rng(0).standard_exponential(12) * np.tile([1, -1], 6), None]
    own = {"sae": "planted", "layer": 4}
    counted = [row("feature_stats", **own, feature_id=i, n_tokens=9, n_active=3) for i in range(15)]
    scored = [row("feature_scores", **own, feature_id=i, causal_effect=e, scoring="s") for i, e in enumerate(effects)]
    sizes = np.abs(np.array(effects[:-1], dtype=float))
    order = np.argsort(-sizes)
    shares = coverage(sizes, order)
    labelled = [
        row(
            "labelled_features",
            **own,
            evidence="e",
            feature_id=i,
            place=n,
            ordered_by="causal_effect",
            covered=shares[n - 1],
        )
        for n, i in enumerate(order.tolist(), start=1)
    ]
    for stage, tables in (("features", {"feature_stats": counted}), ("feature_scores", {"feature_scores": scored})):
        commit_stage(warehouse, stage, write(warehouse, tables, "c"), key=f"{stage}-c")
    commit_stage(warehouse, "explain", write(warehouse, {"labelled_features": labelled}, "c"), key="e")
    return sizes, rows(warehouse, "from label_coverage where sae = 'planted' order by place")


def test_a_random_order_of_the_measured_features_covers_what_many_drawn_ones_do(covered):
    sizes, found = covered
    rng = np.random.default_rng(1)
    drawn = np.array([np.cumsum(rng.permutation(sizes)) / sizes.sum() for _ in range(4000)])
    np.testing.assert_allclose([one["random"] for one in found], drawn.mean(0), atol=0.01)
    spread = 1.96 * drawn.std(0)
    for one, mean, width in zip(found, drawn.mean(0), spread, strict=True):
        assert one["random_low"] == pytest.approx(max(0, mean - width), abs=0.02)
        assert one["random_high"] == pytest.approx(min(1, mean + width), abs=0.02)
    assert {(one["n_features"], one["n_active_features"]) for one in found} == {(12, 15)}
    assert all(one["covered"] >= one["random"] - 1e-9 for one in found)


def test_without_measured_effects_nothing_is_said_of_a_random_order(planted):
    assert [row["covered"] for row in planted("from label_coverage")] == [place / 5 for place in range(1, 6)]
