"""One feature in numbers."""

from tests.dashboards.opened_pages import messages, panels
from tests.dashboards.views.features.opened_feature import open_feature
from tests.dashboards.whole_study import UNSCORED
from tests.tasks.reported_study import SAES


def test_what_is_null_is_said_and_never_zero(study):
    app = open_feature(UNSCORED)
    shown = panels(app)
    assert "not scored" in shown[f"Feature {UNSCORED} of {SAES[6]}"].metrics
    assert any("too few for an r2" in text for text in messages(app))
    never = open_feature(0, sae=SAES[4])
    assert "Never active on 1,000 tokens." in messages(never)
    assert "not measured" in panels(never)[f"Feature 0 of {SAES[4]}"].metrics
