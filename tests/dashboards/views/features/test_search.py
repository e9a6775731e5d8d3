"""The search form and its results."""

import pytest

from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.tasks.reported_study import SAES


@pytest.mark.parametrize(
    "address",
    [{}, {"search": "war", "features": "selected"}, {"sae": SAES[6], "leap": 3, "verdict": "computed"}],
    ids=["all", "search", "verdict"],
)
def test_numbers_of_the_search_are_those_of_its_sql(study, address):
    shown = check_numbers(open_page("features", **address))
    assert {"Activation rate against r2", "Verdicts by leap"} < set(shown)


def test_the_fields_follow_the_address(study):
    app = open_page("features", search="war", look_in="examples", sae=SAES[4], features="selected", leap=2)
    assert app.text_input(key="search").value == "war"
    assert [app.selectbox(key=key).value for key in ("look_in", "sae", "leap")] == ["examples", SAES[4], 2]
    assert "where f.selected" in panels(app)["Features found"].sql


def test_leaps_are_those_that_lead_to_the_chosen_sae(study):
    assert open_page("features", sae=SAES[4]).selectbox(key="leap").options == ["1", "2", "3"]
    assert open_page("features", sae=SAES[6]).selectbox(key="leap").options == ["1", "2", "3", "4", "5"]


def test_an_id_that_is_no_number_is_said(study):
    assert messages(open_page("features", search="war", look_in="ids"))[0].startswith(
        "Feature ids are numbers, not 'war'"
    )
