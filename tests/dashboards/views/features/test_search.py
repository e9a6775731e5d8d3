"""The search form and its results."""

import json

import pytest

from dashboards.ui import meaning
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels, read_page
from tests.dashboards.whole_study import STOPPING
from tests.tasks.reported_study import SAES
from tests.warehouse.embedding_rows import N_QUERIES, D


@pytest.mark.parametrize(
    "address",
    [{}, {"search": "war", "features": "selected"}, {"sae": SAES[6], "leap": 3, "verdict": "computed"}],
    ids=["all", "search", "verdict"],
)
def test_numbers_of_the_search_are_those_of_its_sql(study, address):
    shown = check_numbers(read_page("features", **address))
    assert {"Activation rate against r2", "Verdicts by leap"} < set(shown)


def test_the_fields_follow_the_address(study):
    app = read_page("features", search="war", look_in="examples", sae=SAES[4], features="selected", leap=2)
    assert app.text_input(key="search").value == "war"
    assert [app.selectbox(key=key).value for key in ("look_in", "sae", "leap")] == ["examples", SAES[4], 2]
    assert "where f.selected" in panels(app)["Features found"].sql


def test_leaps_are_those_that_lead_to_the_chosen_sae(study):
    assert read_page("features", sae=SAES[4]).selectbox(key="leap").options == ["1", "2", "3"]
    assert read_page("features", sae=SAES[6]).selectbox(key="leap").options == ["1", "2", "3", "4", "5"]


def test_an_id_that_is_no_number_is_said(study):
    assert messages(read_page("features", search="war", look_in="ids"))[0].startswith(
        "Feature ids are numbers, or 12/658 or KEY/658, not 'war'"
    )


def test_r2_and_verdict_at_the_chosen_leap_stand_unclipped_beside_the_feature(study):
    app = read_page("features", sae=SAES[6], leap=3)
    rows = panels(app)["Features by score"].rows
    (own,) = rows.filter(feature_id=STOPPING).iter_rows(named=True)
    assert (own["r2"], own["verdict"]) == (0.1, "computed")
    (table,) = [frame.proto for frame in app.dataframe if frame.proto.id and "found" in frame.proto.id]
    assert list(table.column_order)[:4] == ["feature_id", "layer", "r2", "verdict"]
    widths = {name: column.get("width") for name, column in json.loads(table.columns).items()}
    assert sum(widths[name] for name in list(table.column_order)[:4]) < 400, "without scrolling"
    assert widths["verdict"] >= 120
    assert read_page("features", sae=SAES[6], leap=1).selectbox(key="leap").value == 1


def test_a_search_by_meaning_ranks_features_beside_the_null(study, monkeypatch):
    monkeypatch.setattr("dashboards.ui.meaning._vector", lambda text: [0.0, 1.0] + [0.0] * (D - 2))
    app = open_page("features", search="dates and months", look_in="meaning")
    shown = check_numbers(app)
    assert "Features found" not in shown
    rows = shown["Features by meaning"].rows
    assert rows["sae"].unique().to_list() == [SAES[4]]
    assert rows["similarity"].to_list() == sorted(rows["similarity"], reverse=True)
    assert rows["p"].min() >= 1 / (1 + N_QUERIES)


def test_a_search_finds_by_words_and_by_meaning_beside_one_another(study, monkeypatch):
    monkeypatch.setattr("dashboards.ui.meaning._vector", lambda text: [1.0] + [0.0] * (D - 1))
    shown = check_numbers(open_page("features", search="war"))
    assert {"Features found", "Features by meaning"} <= set(shown)
    assert shown["Features by meaning"].rows["similarity"].max() > 0.5


@pytest.mark.parametrize("address", [{"search": "war", "look_in": "examples"}, {"search": "4/3", "sae": SAES[6]}, {}])
def test_what_looks_for_something_else_is_not_searched_by_meaning(study, address):
    assert "Features by meaning" not in panels(read_page("features", **address))


def test_without_embeddings_one_line_says_how_to_get_them(study):
    app = read_page("features", search="war", sae=SAES[6])
    assert "Features by meaning" not in panels(app)
    assert sum("`ato run embed`" in one.value for one in app.caption) == 1


def test_without_the_sentence_encoder_too_the_line_says_how_to_get_both(study, monkeypatch):
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    (said,) = [
        one.value for one in open_page("features", search="war", sae=SAES[6]).caption if "ato run embed" in one.value
    ]
    assert "pip install" in said


def test_without_the_sentence_encoder_a_search_by_meaning_says_how_to_get_it(study, monkeypatch):
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    meaning._encoder.clear()
    said = messages(open_page("features", search="a word of its own", look_in="meaning"))
    assert any("no-such-package is not installed" in text and "pip install" in text for text in said)
