"""The page of labels: planted scores beside control and chance, labels that fail, and ways to the features."""

import polars as pl
import pytest

from ato.autointerp.scores import balanced_accuracy
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.tasks.reported_study import SAES
from tests.warehouse.embedding_rows import D
from tests.warehouse.label_rows import (
    DESCRIPTIONS,
    FEATURES,
    JUDGES,
    LAYER,
    RIGHT,
    TIERS,
    UNDESCRIBED,
    N,
    write_labelling,
)
from tests.warehouse.neuron_rows import JUDGE, NEURONS
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

N_PANELS = 9
SAE = SAES[LAYER]


@pytest.fixture(scope="module")
def shown(study_root):
    """The panels of the page as it opens on the planted labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        patch.setattr("dashboards.ui.panels.OPENED", True)
        found = check_numbers(open_page("labels"))
    assert len(found) == N_PANELS
    assert [name for name, panel in found.items() if not panel.drawn] == []
    return found


def mean_score() -> float:
    """Planted mean of detection by the first judge."""
    right = [RIGHT[f] / N for f in FEATURES if f != UNDESCRIBED]
    return sum(right) / len(right)


def test_mean_scores_stand_beside_neurons_a_shuffled_control_and_chance(shown):
    rows = shown["Scores by layer"].rows
    assert rows["what"].to_list() == ["neurons", "neurons, shuffled", "sae", "sae, shuffled"]
    of_sae = rows.filter(pl.col("what") == "sae").row(0, named=True)
    assert of_sae["mean_score"] == pytest.approx(mean_score())
    assert of_sae["mean_low"] < of_sae["mean_score"] < of_sae["mean_high"]
    assert (of_sae["n_scored"], of_sae["n_features"]) == (len(FEATURES) - 1, len(FEATURES))
    shuffled = rows.filter(pl.col("what") == "sae, shuffled")["mean_score"].to_list()
    expected = balanced_accuracy([True] * N + [False] * N, [i < N // 2 for i in range(N)] * 2).value.value
    assert shuffled == pytest.approx([expected])
    assert set(rows["chance"]) == {0.5}
    assert rows.filter(pl.col("what") == "neurons")["sae"].to_list() == [NEURONS]


def test_every_tier_and_every_judge_has_its_scores(shown):
    assert shown["Scores by tier"].rows["tier"].unique(maintain_order=True).to_list() == [
        "all",
        *("random", "same_stratum", "near_miss"),
    ]
    assert set(TIERS) < set(shown["Scores by tier"].rows["tier"])
    by_judge = shown["Scores by judge"].rows.filter(pl.col("what") == "sae")
    assert by_judge["judge"].to_list() == list(JUDGES)
    assert by_judge["mean_score"][0] > by_judge["mean_score"][1], "the second is planted to be worse"


def test_labels_that_fail_say_why(shown):
    rows = shown["Labels that fail"].rows.filter(pl.col("sae") == SAE)
    faults = dict(rows.select("feature_id", "fault").rows())
    assert faults == {UNDESCRIBED: "no description", 1: "no better than chance"}
    why = dict(rows.select("feature_id", "why").rows())
    assert why[UNDESCRIBED] == "no example: it fires in no train document"
    assert why[1] == "its interval is not above 0.5"


def test_classes_agreement_and_cost_are_counted(shown):
    counts = shown["Classes"].rows.group_by("judge", "class").agg(pl.sum("n_features"))
    assert ("tiny-model", "domain", 3) in counts.rows()
    assert shown["Agreement between judges"].rows["kappa"].to_list() == [0.5]
    cost = shown["Cost of the judge"].rows.row(0, named=True)
    assert (cost["judge"], cost["n_calls"], cost["prompt_tokens"], cost["cost"]) == ("tiny-model", 1, 300, 0.01)


@pytest.mark.parametrize(
    ("words", "found"),
    [("YEARS 1862", {3}), ("names", {4}), ("union states", set(FEATURES)), ("domain", {1, 4}), ("it's %", set())],
)
def test_a_search_finds_features_with_all_its_words_in_description_tokens_or_classes(study, words, found):
    app = open_page("labels", words=words, judge=JUDGE)
    assert not app.error
    rows = panels(app)["Labelled features"].rows
    assert set(rows.filter(pl.col("sae") == SAE)["feature_id"]) == found if found else rows.is_empty()
    assert bool(found) or any("No labelled feature matches these words" in text for text in messages(app))


@pytest.mark.parametrize(
    ("look_in", "found"),
    [
        ("everything", {"Labelled features", "Features by meaning"}),
        ("labels", {"Labelled features"}),
        ("meaning", {"Features by meaning"}),
    ],
)
def test_a_search_finds_by_words_and_by_meaning_beside_one_another_or_by_one_alone(study, monkeypatch, look_in, found):
    monkeypatch.setattr("dashboards.ui.meaning._vector", lambda text: [1.0] + [0.0] * (D - 1))
    app = open_page("labels", words="years", look_in=look_in, layer=LAYER)
    shown = panels(app)
    assert not app.error
    assert {"Labelled features", "Features by meaning"} & set(shown) == found
    if "Features by meaning" in found:
        assert set(shown["Features by meaning"].rows["layer"]) == {LAYER}


def test_the_first_labels_cover_more_than_a_random_order_where_effects_were_measured(shown):
    rows = shown["Effect covered by the first labels"].rows
    assert rows["covered"].to_list() == [place / len(FEATURES) for place in range(1, len(FEATURES) + 1)]
    assert set(rows["sae"]) == {SAE}, "neurons are in no such order"
    for row in rows.iter_rows(named=True):
        assert row["random"] == pytest.approx(min(1, row["place"] / row["n_features"]))
        assert row["random_low"] <= row["random"] <= row["random_high"]


def test_the_order_and_the_layer_are_kept_in_the_address(study):
    app = open_page("labels", order="best first", layer=LAYER, test="intruder")
    scores = panels(app)["Labelled features"].rows["detection"].drop_nulls().to_list()
    assert scores == sorted(scores, reverse=True)
    assert set(panels(app)["Scores by layer"].rows["chance"]) == {0.2}
    assert len(DESCRIPTIONS) < len(panels(app)["Labelled features"].rows)


def test_without_labels_each_panel_says_how_to_begin(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page("labels")
    assert not app.error
    assert len(panels(app)) == N_PANELS
    assert all("ato run label" in said.value for said in app.info)
    assert len(app.info) == N_PANELS


def test_labels_of_an_sae_that_is_alone_in_the_warehouse_are_shown(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    write_labelling(warehouse)
    app = open_page("labels", judge=JUDGES[1])
    assert not app.error
    assert len(panels(app)["Labelled features"].rows) == len(FEATURES)
