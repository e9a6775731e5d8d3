"""The SQL of a search finds what was planted."""

import warehouse
from dashboards.views.features.query import Search, statement
from tests.dashboards.whole_study import STOPPING, UNSCORED
from tests.tasks.reported_study import COLLECTION, N_FEATURES, SAES, SELECTED


def found(**search):
    """(feature id, found in) of each row of a search, in order."""
    rows = warehouse.run_select(warehouse.connect(), statement(Search(COLLECTION, **search))).pl()
    return list(rows.select("feature_id", "found_in").iter_rows())


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
    assert found(sae=SAES[6], leap=3, verdict="computed") == [(STOPPING, None)]
    assert STOPPING in dict(found(sae=SAES[6], leap=2, verdict="transported"))


def test_no_more_than_200_rows_and_the_number_of_all(study):
    rows = warehouse.run_select(warehouse.connect(), statement(Search(COLLECTION))).pl()
    assert set(rows["n_found"]) == {2 * (N_FEATURES + 2)}
    assert "limit 200" in statement(Search(COLLECTION))
