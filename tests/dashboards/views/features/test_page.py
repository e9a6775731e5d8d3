"""The page of features: search or one feature, as the address says."""

import pytest

from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels, read_page
from tests.dashboards.views.features.opened_feature import read_feature
from tests.dashboards.whole_study import ABLATED, STOPPING, UNSCORED
from tests.tasks.reported_study import SAES, SELECTED


@pytest.mark.parametrize("feature_id", [0, ABLATED, 7, STOPPING, UNSCORED])
def test_numbers_of_a_feature_are_those_of_its_sql(study, feature_id):
    shown = check_numbers(read_feature(feature_id))
    assert len(shown) == 10
    assert f"Feature {feature_id} of {SAES[6]}" in shown


def test_a_feature_is_left_for_the_search_as_it_was(study):
    app = open_page("features", search="war")
    app.query_params["sae"], app.query_params["feature_id"] = SAES[4], "3"
    app.run()
    assert f"Feature 3 of {SAES[4]}" in panels(app)
    app.button[0].click().run()
    assert app.text_input(key="search").value == "war"
    assert "feature_id" not in app.query_params


def test_stages_that_have_not_run_are_named_with_their_command(study):
    text = " ".join(messages(read_feature(STOPPING)))
    assert all(f"`ato run {flow}`" in text for flow in ("features", "explain", "causal"))


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ({"sae": SAES[4], "feature_id": 99999}, f"{SAES[4]} has no feature 99999: valid ids are 0 to 21."),
        ({"sae": SAES[4], "feature_id": -1}, f"{SAES[4]} has no feature -1: valid ids are 0 to 21."),
        ({"sae": "gone", "feature_id": 1}, "No SAE 'gone' in this collection. Choose one below."),
        ({"sae": SAES[4], "feature_id": "--1"}, "feature_id='--1' in the address is not the number of a feature."),
        ({"feature_id": 1}, "The address names feature 1 but no SAE. Search for the id below."),
    ],
)
def test_an_address_of_no_feature_gives_one_line_and_the_search(study, address, line):
    app = read_page("features", **address)
    assert messages(app)[0] == line
    assert "Features by score" in panels(app)


def test_a_surprise_is_a_selected_feature_and_the_same_for_the_same_address(study):
    titles = [next(iter(panels(read_page("features", surprise=n)))) for n in (1, 1, 2, 3)]
    assert titles[0] == titles[1]
    assert len(set(titles)) > 1
    assert all(int(title.split()[1]) in SELECTED for title in titles)


def test_an_empty_warehouse_and_one_without_saes_say_what_to_run(empty):
    assert "`make run`" in messages(read_page("features"))[0]
