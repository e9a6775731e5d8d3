"""Explanations: shown with their source, and where there is none, with the command that fetches some."""

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.tasks.reported_study import SAES


def test_an_explanation_is_escaped_and_says_whether_it_is_aligned(study):
    app = read_feature(0, sae=SAES[4])
    assert "words of peace & war" in panels(app)["Explanations"].rows["description"].to_list()
    (shown,) = [block.proto.body for block in app.get("html") if "peace" in block.proto.body]
    assert "peace &amp; war" in shown
    assert "align" in shown


def test_a_feature_without_one_names_the_command(study):
    (said,) = panels(read_feature(7))["Explanations"].informed
    assert said.startswith("No explanation available.")
    assert "`ato run explain`" in said
