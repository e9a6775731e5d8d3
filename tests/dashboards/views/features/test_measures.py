"""One feature in numbers."""

from tests.dashboards.opened_pages import messages, panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.dashboards.whole_study import UNSCORED
from tests.tasks.reported_study import SAES


def test_what_is_null_is_said_and_never_zero(study):
    app = read_feature(UNSCORED)
    shown = panels(app)
    assert "not scored" in shown[f"Feature {UNSCORED} of {SAES[6]}"].metrics
    assert any("too few for an r2" in text for text in messages(app))
    never = read_feature(0, sae=SAES[4])
    assert "Never active on 1,000 tokens." in messages(never)
    assert "not measured" in panels(never)[f"Feature 0 of {SAES[4]}"].metrics


def test_a_largest_activation_says_of_which_text_it_is_and_an_effect_of_how_many_documents(study):
    labels = [metric.label for metric in read_feature(5).metric]
    assert [label for label in labels if label.startswith("Largest activation")] == [
        "Largest activation, test text",
        "Largest activation, train text",
    ]
    assert "Causal effect (nats), 12 documents" in labels
