"""The page that compares models: what changed in which checkpoint, and the way to the feature."""

import pytest

from tests.dashboards.opened_pages import check_numbers, messages, open_page, read_page
from tests.warehouse.compare_rows import GONE, LOST, MODELS, N_FEATURES, OWN, SOURCE, TARGET


def test_checkpoints_stand_in_order_with_their_mean_difference(study):
    shown = check_numbers(read_page("compare"))
    rows = shown["Transport in other models"].rows
    assert rows["other_model"].to_list() == list(MODELS)
    assert rows["mean_difference"].to_list() == pytest.approx([GONE * len(LOST[m]) / N_FEATURES for m in MODELS])
    assert shown["Comparisons"].rows["n_changed"].to_list() == [len(LOST[m]) for m in MODELS]


def test_features_that_changed_are_listed_for_the_chosen_checkpoint(study):
    address = {"other": MODELS[1], "pair": f"{SOURCE}-{TARGET}"}
    shown = check_numbers(read_page("compare", **address))
    rows = shown["Features that changed"].rows
    assert sorted(rows["feature_id"]) == list(LOST[MODELS[1]])
    assert rows["other_r2"].to_list() == pytest.approx([OWN + GONE] * len(rows))
    assert len(shown["Features here and there"].rows) == N_FEATURES


def test_a_checkpoint_without_changes_says_so(study):
    said = messages(read_page("compare", other=MODELS[0]))
    assert any("No feature changed here" in text for text in said)


def test_an_empty_warehouse_names_the_command(empty):
    assert any("ato run pipeline" in text for text in messages(open_page("compare")))
