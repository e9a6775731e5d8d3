"""Right against wrong answers by one number, on planted scores."""

import pytest

from tests.dashboards.opened_pages import panels, read_page


def test_each_number_stands_with_what_always_saying_correct_reaches(study):
    rows = panels(read_page("entities", contrast="correct_wrong"))["Right against wrong answers"].rows
    assert rows["score"].to_list() == ["best feature", "linear probe", "confidence of the answers"]
    assert rows["auroc"].to_list() == pytest.approx([0.9, 0.8, 0.7])
    assert rows["f1_constant"].to_list() == pytest.approx([2 / 3] * 3)
    assert rows["feature_id"].to_list() == [0, None, None]
