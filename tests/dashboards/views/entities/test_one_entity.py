"""One planted entity: its answers and its features."""

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.warehouse.entity_rows import ATTRIBUTES, N_SAMPLES


def test_answers_come_with_their_grades_and_the_right_answer(study):
    rows = panel_starting(read_page("entities", entity="City <1> (city)"), "Its answers").rows
    assert rows.height == len(ATTRIBUTES["city"]) * N_SAMPLES
    assert rows["grade"].to_list()[:3] == ["wrong", "wrong", "abstain"]
    assert rows["value"].to_list()[0] == "country 1"


def test_features_that_favour_its_class_are_active(study):
    for entity, label in (("City <0> (city)", "known"), ("City <1> (city)", "unknown")):
        app = read_page("entities", entity=entity)
        assert panel_starting(app, "One entity").rows["label"].to_list() == [label]
        rows = panel_starting(app, "Its active features").rows
        assert set(rows["direction"]) == {label}
