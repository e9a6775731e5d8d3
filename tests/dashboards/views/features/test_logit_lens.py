"""The logit lens: promoted and suppressed tokens in order, spaces visible."""

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.dashboards.whole_study import STOPPING
from tests.tasks.reported_study import SAES


def test_tokens_stand_in_the_order_of_the_lens(study):
    rows = panels(read_feature(0, sae=SAES[4]))["Logit lens"].rows
    assert not rows.is_empty()
    for (_,), some in rows.group_by("direction", maintain_order=True):
        assert some["place"].to_list() == list(range(1, some.height + 1))


def test_spaces_of_tokens_are_visible(study):
    rows = panels(read_feature(STOPPING))["Logit lens"].rows
    assert rows["label"].to_list() == ["1. ·odd"]
