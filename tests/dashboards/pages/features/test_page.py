"""The page of features: each way to search finds what was planted, and one feature is shown as its tables say."""

import pytest

import warehouse
from dashboards.pages.features.examples import coloured
from dashboards.pages.features.search import Search, statement
from tests.dashboards.opened_pages import check_numbers, open_page, panels
from tests.dashboards.whole_study import ABLATED, STOPPING, UNSCORED
from tests.tasks.reported_study import COLLECTION, N_FEATURES, SAES, SELECTED


def found(**search):
    """(feature id, found in) of each row of a search, in order."""
    rows = warehouse.run_select(warehouse.connect(), statement(Search(COLLECTION, **search))).pl()
    return list(rows.select("feature_id", "found_in").iter_rows())


def one(feature_id, sae=SAES[6], **address):
    return open_page("features", sae=sae, feature_id=feature_id, **address)


def said(app):
    """Everything that is said in boxes."""
    return [box.value for kind in ("warning", "info", "error") for box in app.get(kind)]


def test_an_id_finds_this_feature_of_every_sae(study):
    assert found(text="7", look_in="ids") == [(7, "id")] * 2
    assert found(text="7", look_in="ids", sae=SAES[4]) == [(7, "id")]


def test_words_of_an_explanation_find_it_whatever_their_case_and_signs(study):
    assert found(text="PEACE & W", look_in="explanations") == [(0, "explanation")]
    assert found(text="it's 100%_$id{}", look_in="explanations") == []


def test_a_token_of_an_example_finds_a_feature_that_is_active_on_it(study):
    assert found(text="<i>", look_in="examples", sae=SAES[4]) == [(f, "example") for f in SELECTED]
    assert found(text="the", look_in="examples") == [], "the features are silent on this token"


def test_a_promoted_word_finds_its_features_by_logit_then_by_score(study):
    assert found(text="war", look_in="promoted words", sae=SAES[4]) == [(f, "promoted word") for f in range(N_FEATURES)]
    assert found(text="odd", look_in="promoted words") == [(STOPPING, "promoted word"), (UNSCORED, "promoted word")]


def test_everything_names_a_feature_once_whole_words_first(study):
    rows = found(text="peace", sae=SAES[4])
    assert len(rows) == N_FEATURES
    assert rows[0] == (0, "explanation")
    assert {why for _, why in rows[1:]} == {"promoted word"}


def test_without_a_text_the_best_scores_come_first_and_features_without_one_last(study):
    rows = found(sae=SAES[6])
    assert [feature for feature, _ in rows[:N_FEATURES]] == list(range(N_FEATURES))
    assert {feature for feature, _ in rows[N_FEATURES:]} == {STOPPING, UNSCORED}


def test_filters_keep_the_selected_and_those_of_a_verdict_at_a_leap(study):
    assert [feature for feature, _ in found(sae=SAES[4], selected=True)] == list(SELECTED)
    assert found(sae=SAES[6], leap=3, verdict="synthesised") == [(STOPPING, None)]
    assert STOPPING in dict(found(sae=SAES[6], leap=2, verdict="transported"))


def test_no_more_than_200_rows_and_the_number_of_all(study):
    rows = warehouse.run_select(warehouse.connect(), statement(Search(COLLECTION))).pl()
    assert set(rows["n_found"]) == {2 * (N_FEATURES + 2)}
    assert "limit 200" in statement(Search(COLLECTION))


@pytest.mark.parametrize(
    "address",
    [{}, {"search": "war", "features": "selected"}, {"sae": SAES[6], "leap": 3, "verdict": "synthesised"}],
    ids=["all", "search", "verdict"],
)
def test_numbers_of_the_search_are_those_of_its_sql(study, address):
    shown = check_numbers(open_page("features", **address))
    assert {"Activation rate against r2", "Verdicts by leap"} < set(shown)


@pytest.mark.parametrize("feature_id", [0, ABLATED, 7, STOPPING, UNSCORED])
def test_numbers_of_a_feature_are_those_of_its_sql(study, feature_id):
    shown = check_numbers(one(feature_id))
    assert len(shown) == 7
    assert f"Feature {feature_id} of {SAES[6]}" in shown


def test_the_fields_follow_the_address(study):
    app = open_page("features", search="war", look_in="examples", sae=SAES[4], features="selected", leap=2)
    assert app.text_input(key="search").value == "war"
    assert [app.selectbox(key=key).value for key in ("look_in", "sae", "leap")] == ["examples", SAES[4], 2]
    assert "where f.selected" in panels(app)["Features found"].sql


def test_leaps_are_those_that_lead_to_the_chosen_sae(study):
    assert open_page("features", sae=SAES[4]).selectbox(key="leap").options == ["1", "2", "3"]
    assert open_page("features", sae=SAES[6]).selectbox(key="leap").options == ["1", "2", "3", "4", "5"]


def test_a_feature_is_left_for_the_search_as_it_was(study):
    app = open_page("features", search="war")
    app.query_params["sae"], app.query_params["feature_id"] = SAES[4], "3"
    app.run()
    assert f"Feature 3 of {SAES[4]}" in panels(app)
    app.button[0].click().run()
    assert app.text_input(key="search").value == "war"
    assert "feature_id" not in app.query_params


def test_it_says_where_and_as_what_the_feature_stops_being_transported(study):
    panel = panels(one(STOPPING))["Where does it stop being transported?"]
    assert set(zip(panel.rows["leap"], panel.rows["verdict"])) >= {(2, "transported"), (3, "synthesised")}
    assert panel.metrics[0] == "to leap 2"
    assert set(panel.rows["stops_at_leap"]) == {3}
    assert set(panel.rows["stops_as"]) == {"synthesised"}


def test_what_is_null_is_said_and_never_zero(study):
    app = one(UNSCORED)
    shown = panels(app)
    assert "not scored" in shown[f"Feature {UNSCORED} of {SAES[6]}"].metrics
    assert any("too few for an r2" in text for text in said(app))
    never = one(0, sae=SAES[4])
    assert "Never active on the 1,000 tokens looked at." in said(never)
    assert "not measured" in panels(never)[f"Feature 0 of {SAES[4]}"].metrics


def test_stages_that_have_not_run_are_named_with_their_command(study):
    text = " ".join(said(one(STOPPING)))
    assert all(f"`ato run {flow}`" in text for flow in ("features", "explain", "causal"))


def test_the_causal_effect_of_an_edited_feature_is_shown(study):
    rows = panels(one(ABLATED))["Causal effect"].rows
    assert set(rows["intervention"]) == {"feature_transport", "feature_zero"}
    assert set(rows["leap"]) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ({"sae": SAES[4], "feature_id": 99999}, f"{SAES[4]} has no feature 99999: its features are 0 to 21."),
        ({"sae": SAES[4], "feature_id": -1}, f"{SAES[4]} has no feature -1: its features are 0 to 21."),
        ({"sae": "gone", "feature_id": 1}, "This collection has no SAE 'gone': choose one below."),
        ({"sae": SAES[4], "feature_id": "--1"}, "feature_id='--1' in the address is no number."),
        ({"feature_id": 1}, "The address names feature 1 and no SAE: search for the id below, and click on its row."),
    ],
)
def test_an_address_of_no_feature_gives_one_line_and_the_search(study, address, line):
    app = open_page("features", **address)
    assert said(app)[0] == line
    assert "Features by score" in panels(app)


def test_an_id_that_is_no_number_is_said(study):
    assert said(open_page("features", search="war", look_in="ids"))[0].startswith("An id is a number, not 'war'")


def test_a_surprise_is_a_selected_feature_and_the_same_for_the_same_address(study):
    titles = [next(iter(panels(open_page("features", surprise=n)))) for n in (1, 1, 2, 3)]
    assert titles[0] == titles[1]
    assert len(set(titles)) > 1
    assert all(int(title.split()[1]) in SELECTED for title in titles)


def test_an_empty_warehouse_and_one_without_saes_say_what_to_run(empty):
    assert "`make run`" in said(open_page("features"))[0]


def test_text_of_the_corpus_is_escaped_and_coloured_by_activation():
    shown = coloured(["<script>alert(1)</script>", " &", "\n\n", "\n", "."], [1.0, 4.0, 0.0, 2.0, 0.0], 4.0, centre=1)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert ">·&amp;</span>" in shown, "spaces of coloured tokens are visible"
    assert "↵↵" in shown
    assert ">↵</span>" in shown
    opacity = [float(part.split(")")[0]) for part in shown.split("rgba(230, 159, 0,")[1:]]
    assert opacity[1] > opacity[2] > opacity[0] > 0
    assert 'title="4.000"' in shown
    assert shown.count("underline;") == 1
    assert shown.count("<span") == 3, "silent tokens have no colour"


def test_attributes_cannot_be_broken_out_of():
    assert '"><img' not in coloured(['"><img src=x onerror=alert(1)>'], [1.0], 1.0, centre=0)


def test_examples_of_each_kind_lead_to_their_sequence(study):
    app = one(0, sae=SAES[4])
    panel = panels(app)["Activating examples"]
    assert list(panel.rows["kind"]) == ["top", "top"]
    html = [block.proto.body for block in app.get("html") if "pre-wrap" in block.proto.body]
    assert len(html) == 2
    assert "·&lt;i&gt;&amp;" in html[0]
