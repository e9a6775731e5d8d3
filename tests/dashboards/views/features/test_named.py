"""A search that names one feature opens it."""

import pytest

from dashboards.views.features.named import KnownSAE, named_feature
from tests.dashboards.opened_pages import open_page
from tests.tasks.reported_study import SAES

ONE = [KnownSAE("topk-l16", 16, 1000)]
TWO = [*ONE, KnownSAE("topk-l08", 8, 100)]
SAME_LAYER = [*TWO, KnownSAE("gated-l08", 8, 100)]


@pytest.mark.parametrize(
    ("text", "saes", "found"),
    [
        ("16/658", TWO, ("topk-l16", 658)),
        (" L16/658 ", TWO, ("topk-l16", 658)),
        ("topk-l08/9", TWO, ("topk-l08", 9)),
        ("658", ONE, ("topk-l16", 658)),
        ("658", TWO, ("topk-l16", 658)),
        ("9", TWO, None),
        ("8/9", SAME_LAYER, None),
        ("gated-l08/9", SAME_LAYER, ("gated-l08", 9)),
        ("8/100", TWO, None),
        ("12/9", TWO, None),
        ("war", TWO, None),
        ("", TWO, None),
        ("and/or", TWO, None),
    ],
)
def test_layer_or_sae_and_a_number_name_a_feature_if_only_one_has_them(text, saes, found):
    assert named_feature(text, saes) == found


def test_a_typed_name_opens_the_feature_and_the_way_back_leads_to_the_search(study):
    app = open_page("features")
    app.text_input(key="search").set_value("6/3").run()
    assert {name: app.query_params[name] for name in ("sae", "feature_id")} == {"sae": SAES[6], "feature_id": "3"}
    next(button for button in app.button if button.label == "Back to search").click().run()
    assert "feature_id" not in app.query_params
    assert app.text_input(key="search").value == "6/3"
