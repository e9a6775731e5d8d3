"""The label of a feature on its page: what is said, how it scores beside control and neurons, and every trial with its text."""

import polars as pl
import pytest

from dashboards.views.features.page import KNOWN, LABELLED
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.dashboards.views.features.opened_feature import open_feature
from tests.tasks.reported_study import SAES
from tests.warehouse.label_rows import DESCRIPTIONS, INTRUDER_RIGHT, JUDGES, LAYER, RIGHT, UNDESCRIBED, N
from tests.warehouse.neuron_rows import NEURONS

SAE = SAES[LAYER]
OF_LABELS = ("Activation histogram", "Neighbours", "Where it fires", "Scores of the label", "Trials")


def html(app) -> list[str]:
    return [block.proto.body for block in app.get("html")]


def links(app) -> list[str]:
    return [leaf.proto.label for leaf in app.get("page_link")]


@pytest.fixture(scope="module")
def labelled(study_root):
    """The page of a feature whose label is right in three of four trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        patch.setattr("dashboards.ui.panels.OPENED", True)
        return open_feature(4, sae=SAE, part=LABELLED)


@pytest.fixture(scope="module")
def shown(labelled, study_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        return check_numbers(labelled)


def test_each_judge_says_its_description_with_scores_and_verdict(labelled, shown):
    assert set(shown) == {"Label", *OF_LABELS}
    assert shown["Label"].rows["judge"].to_list() == list(JUDGES), "the better one first"
    said = [text for text in html(labelled) if DESCRIPTIONS[4] in text]
    assert len(said) == len(JUDGES)
    assert "predicts when it fires · detection 0.75 [" in said[0]
    assert "FAILS" in said[1]
    assert "category: domain" in said[0]


def test_scores_stand_beside_another_description_and_neurons_of_the_layer(shown):
    rows = shown["Scores of the label"].rows
    detection = rows.filter(pl.col("test") == "detection")
    assert detection["what"].to_list() == ["its description", "neurons of the layer", "another's description"]
    assert detection["score"][0] == pytest.approx(RIGHT[4] / N)
    assert detection["score"][2] == pytest.approx(0.5)
    assert detection["n_trials"][0] == 4 * N
    assert rows["test"].unique(maintain_order=True).to_list()[1:4] == [
        "detection, random",
        "detection, same stratum",
        "detection, near miss",
    ]


def test_a_trial_shows_its_text_expected_answered_and_where_it_is_from(labelled, shown):
    rows = shown["Trials"].rows
    assert rows["n_trials"][0] == 4 * N
    wrong = rows.filter(pl.col("answered") != pl.col("expected"))
    assert wrong.height == 4 * (N - RIGHT[4]) == rows.height, "as many as fit, wrong ones first"
    said = [text.value for text in labelled.text]
    assert sum(text.startswith("WRONG: expected yes, answered no") for text in said) == N - RIGHT[4]
    assert sum("near miss" in text for text in said) == N - RIGHT[4]
    corpus, document = rows["corpus"][0], rows["document_id"][0]
    assert any(
        "position 1 of sequence" in label and f"{corpus}, document {document}" in label for label in links(labelled)
    )


def test_an_intruder_trial_shows_all_its_texts_and_which_was_named(study):
    app = open_feature(0, sae=SAE, test="intruder")
    rows = panels(app)["Trials"].rows
    assert rows["text_number"].to_list()[:5] == [0, 1, 2, 3, 4]
    said = [text.value for text in app.text]
    assert sum(text.startswith("WRONG: expected text 5, answered text 1") for text in said) == N - INTRUDER_RIGHT
    assert sum(text.startswith("right: expected text 5, answered text 5") for text in said) == INTRUDER_RIGHT
    assert sum("Text 3: " in label for label in links(app)) == N


def test_histogram_parts_and_neighbours_are_those_of_the_feature(shown):
    assert shown["Activation histogram"].rows.select("low", "high", "n").rows() == [(1.0, 2.0, 40)]
    parts = shown["Where it fires"].rows
    assert parts.select("value", "share").rows() == [("history", 0.75), ("music", 0.25)]
    assert parts["of_all"].to_list() == pytest.approx([0.04] * 2)
    assert shown["Neighbours"].rows["neighbour"].to_list() == [0, 0]
    assert shown["Neighbours"].rows["description"].to_list() == [DESCRIPTIONS[0]] * 2


def test_a_feature_without_description_says_so_and_one_that_was_not_labelled_has_no_trials(study):
    app = open_feature(UNDESCRIBED, sae=SAE, part=LABELLED)
    assert any("no example: it fires in no train document" in text for text in html(app))
    assert "Not scored: no description." in messages(app)
    assert not set(OF_LABELS) & set(panels(open_feature(7, sae=SAES[6])))
    assert any("Not labelled: `ato run label`" in text for text in messages(open_feature(7, sae=SAES[6])))


def test_what_a_label_rests_on_is_a_part_of_its_own_that_an_address_with_a_judge_or_a_test_opens(study):
    assert set(panels(open_feature(4, sae=SAE))) >= {
        "Label",
        "Activating examples",
        "Where does it stop being transported?",
    }
    assert not set(OF_LABELS) & set(panels(open_feature(4, sae=SAE)))
    for address in ({"part": LABELLED}, {"judge": JUDGES[0]}, {"test": "intruder"}):
        assert set(OF_LABELS) < set(panels(open_feature(4, sae=SAE, **address)))
    assert not set(OF_LABELS) & set(panels(open_feature(4, sae=SAE, judge=JUDGES[0], part=KNOWN)))


def test_a_neuron_has_a_page_of_its_label(study):
    app = open_page("features", sae=NEURONS, feature_id=0)
    found = check_numbers(app)
    assert set(found) == {"Label", "Activating examples", *OF_LABELS}
    assert app.subheader[0].value == f"Neuron 0 of {NEURONS}, layer {LAYER}"
    assert {"document_id", "corpus"} < set(found["Activating examples"].rows.columns)
    assert "has no label of number '9'" in messages(open_page("features", sae=NEURONS, feature_id=9))[0]
    assert "has no label of number ''" in messages(open_page("features", sae=NEURONS))[0]
