"""The commands that the page of a feature hands over."""

from tests.dashboards.opened_pages import read_page
from tests.dashboards.views.features.opened_feature import read_feature
from tests.tasks.reported_study import SAES
from tests.warehouse.sae_study_rows import LOADED


def commands(app):
    return [code.value for code in app.code if code.value.startswith(("ato steer", "ato find"))]


def test_the_commands_name_layer_feature_its_largest_activation_and_what_it_promotes(study):
    app = read_feature(3)
    assert commands(app) == ['ato steer --feature L6/3 --to 5 --prompt "I think that"', "ato find peace"]
    (to_study,) = (leaf.proto for leaf in app.get("page_link") if "SAE study" in leaf.proto.label)
    assert f"studied={LOADED.label}" in to_study.query_string


def test_a_feature_that_never_fired_gets_no_value_made_up(study):
    steer, _ = commands(read_page("features", sae=SAES[4], feature_id=0))
    assert "--to VALUE" in steer
